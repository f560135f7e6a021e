<?php

declare(strict_types=1);

// What went wrong is for the server's log, never for the page.
ini_set('display_errors', '0');

const MAX_NAME = 100; // characters: the column's VARCHAR(100)
const MAX_PRICE = 2147483647; // the column's INT
const SPACES = '[\s\p{Z}]'; // with the ideographic space, which trim() leaves
const TOKEN_COOKIE = 'product_form';

/** A connection to the database that the environment names. */
function connect(): mysqli
{
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $database = mysqli_init();
    $database->options(MYSQLI_OPT_CONNECT_TIMEOUT, 5);
    $database->real_connect(
        (string) getenv('DATABASE_HOST'),
        (string) getenv('DATABASE_USER'),
        (string) getenv('DATABASE_PASSWORD'),
        (string) getenv('DATABASE_NAME'),
        (int) getenv('DATABASE_PORT'),
    );
    $database->set_charset('utf8mb4');
    return $database;
}

/** What was entered in a field, without the spaces around it; a field that is no text counts as empty. */
function entered(string $field): string
{
    $text = $_POST[$field] ?? '';
    if (!is_string($text) || !preg_match('//u', $text)) {
        return '';
    }
    return preg_replace('/^' . SPACES . '+|' . SPACES . '+$/Du', '', $text);
}

/** What is wrong with a name; empty where it is right. */
function name_problem(string $name): string
{
    if ($name === '') {
        return 'Please enter a name.';
    }
    if (preg_match('/\p{Cc}/u', $name)) {
        return 'A name is one line of text.';
    }
    return preg_match('/^.{1,' . MAX_NAME . '}$/Du', $name) ? '' : 'A name has at most ' . MAX_NAME . ' characters.';
}

/** What is wrong with a price; empty where it is right. */
function price_problem(string $price): string
{
    if (!preg_match('/^[0-9]+$/D', $price)) {
        return 'Please enter the price as a whole number, 0 or more, such as 100.';
    }
    $digits = ltrim($price, '0');
    return strlen($digits) < 11 && (int) $digits <= MAX_PRICE ? '' : 'A price is at most ' . MAX_PRICE . '.';
}

/** The visitor's token: a form is accepted only with the same one, which other sites can neither read nor send. */
function token(): string
{
    $token = $_COOKIE[TOKEN_COOKIE] ?? '';
    return is_string($token) && preg_match('/^[0-9a-f]{64}$/D', $token) ? $token : '';
}

/** Text as HTML that shows it. */
function html(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
}

header_remove('X-Powered-By');
header('Content-Type: text/html; charset=utf-8');
header(
    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src data:; "
    . "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
);
header('X-Content-Type-Options: nosniff');
header('Referrer-Policy: same-origin');
header('Cache-Control: no-store');

$method = $_SERVER['REQUEST_METHOD'];
if (!in_array($method, ['GET', 'HEAD', 'POST'], true)) {
    http_response_code(405);
    header('Allow: GET, HEAD, POST');
    exit;
}

$name = $price = '';
$problems = [];
$message = isset($_GET['added']) ? 'The product was added.' : '';
$products = [];
$token = token();
$trusted = $token !== '' && is_string($_POST['token'] ?? null) && hash_equals($token, $_POST['token']);

if ($method === 'POST' && !$trusted) {
    http_response_code(403);
    // Nothing of what was sent is shown: it may be another site's.
    $message = 'Nothing was added: the form was out of date. Please try again.';
} elseif ($method === 'POST') {
    $name = entered('name');
    $price = entered('price');
    $problems = array_filter(['name' => name_problem($name), 'price' => price_problem($price)]);
    if ($problems) {
        http_response_code(422);
        $message = 'Nothing was added.';
    }
}

try {
    $database = connect();
    if ($method === 'POST' && $trusted && !$problems) {
        $database->prepare('INSERT INTO product (name, price) VALUES (?, ?)')->execute([$name, (int) $price]);
        // See other: a reload of the next page adds nothing.
        header('Location: ./?added', true, 303);
        exit;
    }
    $products = $database->query('SELECT id, name, price FROM product ORDER BY id')->fetch_all(MYSQLI_ASSOC);
} catch (mysqli_sql_exception $error) {
    error_log('products: ' . $error->getMessage());
    http_response_code(503);
    header('Retry-After: 10');
    $message = 'The products cannot be reached at the moment. Please try again in a while.';
}

if ($token === '') {
    $token = bin2hex(random_bytes(32));
    setcookie(TOKEN_COOKIE, $token, ['path' => '/', 'secure' => !empty($_SERVER['HTTPS']), 'httponly' => true, 'samesite' => 'Strict']);
}

?>
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>Products</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="style.css">
  </head>
  <body>
    <main>
      <h1>Products</h1>
<?php if ($message !== '') : ?>
      <p role="status"><?= html($message) ?></p>
<?php endif ?>
<?php /* novalidate: the words are the page's own, the same in every browser. */ ?>
      <form method="post" action="./" novalidate>
        <input type="hidden" name="token" value="<?= html($token) ?>">
<?php foreach (['name' => ['Name', $name, 'text'], 'price' => ['Price', $price, 'numeric']] as $field => [$label, $value, $keyboard]) : ?>
        <p>
          <label for="<?= $field ?>"><?= $label ?></label>
          <input id="<?= $field ?>" name="<?= $field ?>" value="<?= html($value) ?>"
            inputmode="<?= $keyboard ?>" autocomplete="off" required
<?php if (isset($problems[$field])) : ?>
            aria-invalid="true" aria-describedby="<?= $field ?>-problem"
<?php endif ?>
          >
<?php if (isset($problems[$field])) : ?>
          <span class="problem" id="<?= $field ?>-problem"><?= html($problems[$field]) ?></span>
<?php endif ?>
        </p>
<?php endforeach ?>
        <p><button type="submit">Add the product</button></p>
      </form>
<?php if ($products) : ?>
      <table>
        <thead>
          <tr><th scope="col">Name</th><th scope="col">Price</th></tr>
        </thead>
        <tbody>
<?php foreach ($products as $product) : ?>
          <tr><td><?= html($product['name']) ?></td><td><?= html((string) $product['price']) ?></td></tr>
<?php endforeach ?>
        </tbody>
      </table>
<?php endif ?>
    </main>
  </body>
</html>
