-- For wrk: counts the answers by status and body, and prints the counts in lines that a program can read.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  answers = {} -- not local, so that done() can ask the thread for it
end

function delay()
  return tonumber(os.getenv("PAUSE")) -- milliseconds between two requests of a client
end

function response(status, _, body)
  local answer = status .. " " .. body:gsub("%s+", " ")
  answers[answer] = (answers[answer] or 0) + 1
end

function done(summary, latency)
  for _, thread in ipairs(threads) do
    for answer, count in pairs(thread:get("answers")) do
      print("ANSWER", count, answer)
    end
  end
  for _, kind in ipairs({"connect", "read", "write", "timeout"}) do
    print("ERROR", summary.errors[kind], kind)
  end
  print("SLOWEST", latency.max, "microseconds")
end
