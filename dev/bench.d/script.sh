#!/usr/bin/env bash
# The yardstick of `make bench`: what a person does by hand over SSH to serve one app, as a plain shell script.
# Usage: script.sh ADDRESS KEY APP_DIRECTORY GUNICORN_REQUIREMENT
set -euo pipefail
address=$1 app=$3 gunicorn=$4
ssh=(ssh -i "$2" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "ubuntu@$address")

tar -C "$app" --exclude=__pycache__ -cz . | "${ssh[@]}" 'cat >app.tar.gz'
"${ssh[@]}" sudo bash -s -- "$gunicorn" <<'REMOTE'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends nginx python3-venv ufw >/dev/null

useradd --system --no-create-home --shell /usr/sbin/nologin blueoctopus
mkdir -p /srv/blueoctopus
tar -C /srv/blueoctopus --no-same-owner -xzf /home/ubuntu/app.tar.gz
python3 -m venv /srv/blueoctopus/.venv
/srv/blueoctopus/.venv/bin/pip install -q -r /srv/blueoctopus/requirements.txt "$1"

cat >/etc/systemd/system/blueoctopus.service <<'UNIT'
[Unit]
Description=blueoctopus under Gunicorn
After=network.target

[Service]
User=blueoctopus
Group=www-data
RuntimeDirectory=blueoctopus
WorkingDirectory=/srv/blueoctopus
ExecStart=/srv/blueoctopus/.venv/bin/gunicorn --workers 2 --bind unix:/run/blueoctopus/app.sock main:app
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT

cat >/etc/nginx/sites-available/blueoctopus.conf <<'SITE'
server {
    listen 80 default_server;
    location / {
        proxy_pass http://unix:/run/blueoctopus/app.sock;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
SITE
ln -sf ../sites-available/blueoctopus.conf /etc/nginx/sites-enabled/blueoctopus.conf
rm -f /etc/nginx/sites-enabled/default

ufw allow 22/tcp >/dev/null
ufw allow 80/tcp >/dev/null
ufw --force enable >/dev/null

systemctl daemon-reload
systemctl enable --quiet --now blueoctopus nginx
nginx -q -t
systemctl reload nginx
REMOTE

for _ in $(seq 100); do
    if curl --silent --fail --max-time 2 --output /dev/null "http://$address/"; then exit 0; fi
    sleep 0.1
done
echo "script.sh: http://$address/ does not answer" >&2
exit 1
