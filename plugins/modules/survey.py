#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check an app's variables and inspect the host, before anything is changed: the documentation of the action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: survey
short_description: Check an app's variables and inspect the host, before anything is changed
version_added: 0.1.0
description:
  - On the controller, it takes the variables of a role and of those that its topology needs, fills in the defaults, and rejects what is
    wrong. A message names the variable, what was given and what would be right.
  - On the host, in one round trip, it reads what the role needs to know, such as packages, accounts, listening sockets, the firewall,
    and which apps there are. So a task that has nothing to do costs no round trip of its own.
  - It rejects what would hurt something else on the host, such as a port that another service holds.
  - It plans what the run will do, such as the files that the web server gets. It changes nothing.
author: flaskops contributors (@flaskops)
options:
  role:
    description:
      - A role of this collection whose variables are checked and returned, with the plan for the run. V(flask_app) for an app in any topology,
        V(mysql_webapp) for a database. None is needed to look at a host.
    type: str
    choices: ["", flask_app, mysql_webapp]
    default: ""
  variables:
    description:
      - One app's variables as a dictionary. They take precedence over the host's variables of the same names, so that a loop can
        go over the apps of a host.
    type: dict
    default: {}
  topology:
    description:
      - Name of the topology of an app that has no C(flask_app_topology) of its own. Empty for the only group of the host that is a topology.
    type: str
    default: ""
  packages:
    description: Packages of the distribution to look for.
    type: list
    elements: str
    default: []
  status:
    description:
      - Whether to inspect each app closely. The result has its health check through the web server, its releases, the state of its server
        and the last lines of its log.
    type: bool
    default: false
  app:
    description: The only app that O(status) inspects. Empty for all of them.
    type: str
    default: ""
  log_lines:
    description: How many lines of an app's log O(status) shows.
    type: int
    default: 5
  schedules:
    description: Internal. Times at which jobs are to run, for systemd to judge. The controller takes them from C(flask_app_jobs).
    type: list
    elements: str
    default: []
  process:
    description: Whose log O(status) shows, V(web) or the name of a worker or a job.
    type: str
    default: web
  user:
    description: Internal. An account to look for. The controller takes it from C(flask_app_user).
    type: str
    default: ""
  group:
    description: Internal. A group to look for. The controller takes it from C(flask_app_group).
    type: str
    default: ""
  python:
    description: Internal. A Python to look for. The controller takes it from C(flask_app_python).
    type: str
    default: ""
  root:
    description: Internal. A directory to look for. The controller takes it from C(flask_app_root).
    type: str
    default: ""
  environment_files:
    description: Internal. Files to look for. The controller takes them from C(flask_app_environment_files).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Check an app's variables, and look at the host
  flaskops.hosting.survey:
    role: flask_app
    topology: nginx_gunicorn
    variables: {flask_app_name: shop, flask_app_source: /home/me/shop}
  register: app

- name: Show its URL
  ansible.builtin.debug:
    msg: "{{ app.settings.flask_app_name }} answers at {{ app.url }}"

- name: Which apps does the host have?
  flaskops.hosting.survey:
  register: host
"""

RETURN = r"""
settings:
  description: The variables of the role, checked and complete. Secrets are not among them.
  returned: when O(role) is given
  type: dict
  sample: {flask_app_name: shop, flask_app_root: /srv/shop}
distribution:
  description: Name and major version of the distribution, as Ansible's facts name them.
  returned: always
  type: dict
  sample: {name: Ubuntu, major_version: "24"}
processors:
  description: How many processors the host has for its processes.
  returned: always
  type: int
  sample: 2
packages_missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
  sample: [nginx]
versions:
  description: The versions of those of O(packages) that are installed.
  returned: always
  type: dict
  sample: {nginx: 1.26.3-3+deb13u1}
certificates:
  description:
    - The certificates that this collection asks a CA for, by name. C(names) are those that it is to have, C(covered) those of them that it has,
      C(given_by) the CA that gave it,
      C(owners) the apps that it is for. C(next) is when it will be renewed, or tried again, and C(error) what went wrong last.
    - If it is there, also C(issuer), C(expires), and C(days) until then.
  returned: always
  type: dict
  sample: {flaskops-shop.example.com: {names: [shop.example.com], covered: [shop.example.com], owners: [shop], days: 89, error: ""}}
certificate_files:
  description:
    - Of each certificate of users' own, by its directory, C(issuer), C(expires), C(days) until then, and C(error) if something is wrong with it.
  returned: always
  type: dict
  sample: {/etc/flaskops/certificates/shop.example.com: {days: 89, expires: "2027-02-26T08:00:00Z", issuer: "Let's Encrypt", error: "", next: ""}}
package_lists:
  description: Whether the package manager knows any package that could be installed.
  returned: always
  type: bool
  sample: true
account:
  description:
    - Whether the group exists, and whether the user exists in it without a login shell.
    - Whether the user was made by this collection, and whether it is somebody else's that must not be changed.
  returned: always
  type: dict
  sample: {user: true, group: true, ours: true, foreign: false}
sockets:
  description: The TCP ports that are listened on, with the address, the account, the process and its systemd unit.
  returned: always
  type: list
  elements: dict
  sample: [{address: 0.0.0.0, port: 22, user: root, process: sshd, unit: ssh.service}]
ipv6:
  description: Whether programs can listen on IPv6.
  returned: always
  type: bool
  sample: true
ssh_ports:
  description: The TCP ports that SSH listens on, and the one that this connection has come by.
  returned: always
  type: list
  elements: int
  sample: [22]
firewall:
  description: Whether ufw is installed and enabled, its policy for what comes in, and the TCP ports that it allows.
  returned: always
  type: dict
  sample: {installed: true, enabled: true, incoming: DROP, ports: [22, 80]}
apache:
  description:
    - The modules that Apache has enabled, and the ports that its C(ports.conf) listens on, always and with a module for TLS. If it is not
      installed, those of its package.
  returned: always
  type: dict
  sample: {modules: [proxy, wsgi], sites: [000-default.conf], ports: [80], tls_ports: [443]}
nginx:
  description:
    - Whether its C(nginx.conf) reads the directory C(sites-enabled), as that of Debian's and Ubuntu's package does and that of nginx.org's does not.
    - Whether C(conf.d/default.conf) is as nginx.org's package comes with it, and nobody has changed it.
  returned: always
  type: dict
  sample: {sites_enabled: true, welcome: false}
python:
  description: The versions of the Python that was looked for and of the distribution's own. Empty if it does not run.
  returned: always
  type: dict
  sample: {given: "3.13", distribution: "3.13"}
root:
  description: Whether O(root) exists, and, if no app has noted it as its own, some names of what is in it.
  returned: always
  type: dict
  sample: {exists: true, foreign: [bin]}
files_missing:
  description: Those of O(environment_files) that are not there.
  returned: always
  type: list
  elements: str
  sample: []
owned_paths:
  description: The paths that this collection has put on the host, whoever they belong to.
  returned: always
  type: list
  elements: str
  sample: [/etc/nginx/sites-available/80.conf]
topology:
  description: Name of the app's topology.
  returned: when O(role=flask_app) and the app is to be there
  type: str
  sample: nginx_gunicorn
before:
  description: What the app had noted on the host before this run. Empty for a new app.
  returned: when O(role=flask_app)
  type: dict
  sample: {root: /srv/shop, topology: nginx_uwsgi}
url:
  description: The app's URL. Empty for an app that is to be removed.
  returned: when O(role=flask_app)
  type: str
  sample: http://192.0.2.10/
hint:
  description: How to reach the app, if only the host itself can.
  returned: when O(role=flask_app)
  type: str
  sample: ""
front:
  description: How to send the health check through its web server, as O(flaskops.hosting.release#module:front). Empty without one.
  returned: when O(role=flask_app)
  type: dict
  sample: {address: "127.0.0.1:80", host: localhost}
record:
  description: What the host is to note of the app, as O(flaskops.hosting.release#module:record).
  returned: when O(role=flask_app) and the app is to be there
  type: dict
  sample: {topology: nginx_gunicorn, url: "http://192.0.2.10/"}
files:
  description: What the web server reads of the app, and the units of the app's own port, as O(flaskops.hosting.config_files#module:files).
  returned: when O(role=flask_app) and the app is to be there
  type: list
  elements: dict
  sample: [{link: /etc/nginx/sites-enabled/80.conf, to: ../sites-available/80.conf}]
services:
  description: The units that read them, as O(flaskops.hosting.config_files#module:services).
  returned: when O(role=flask_app) and the app is to be there
  type: list
  elements: dict
  sample: [{name: nginx.service, test: nginx -t, needs: /etc/nginx/sites-enabled, reads: [/etc/nginx], on_change: reloaded}]
release:
  description: What the application server needs of a release, as options of M(flaskops.hosting.release).
  returned: when O(role=flask_app) and the app is to be there
  type: dict
  sample: {instances: [{name: web, manager: systemd}], server_requirements: [gunicorn==27.0.1]}
firewall_plan:
  description:
    - What the firewall must allow, as M(flaskops.hosting.firewall) takes it, whether there is anything to do, and the ports that nothing needs
      any more.
  returned: when O(role) is given
  type: dict
  sample: {opens: true, allow: {flaskops: [80]}, enables: false, shuts: [], close: []}
prepares:
  description: Whether packages or the account are to be changed before the release is staged.
  returned: when O(role=flask_app) and the app is to be there
  type: bool
  sample: false
finishes:
  description: Whether there is something to do after the release is live, such as ports that nothing needs any more.
  returned: when O(role=flask_app) and the app is to be there
  type: bool
  sample: false
account_goes:
  description: Whether the account is this app's and goes with it.
  returned: when O(role=flask_app) and the app is to be removed
  type: bool
  sample: true
remote:
  description: Whether others than the host itself reach the database.
  returned: when O(role=mysql_webapp)
  type: bool
  sample: false
addresses:
  description: The addresses on which the database's server listens.
  returned: when O(role=mysql_webapp)
  type: list
  elements: str
  sample: ["127.0.0.1"]
calendars:
  description: What is wrong with times at which jobs are to run, by these, as this host's systemd reads them.
  returned: always
  type: dict
  sample: {"*-02-30": that time never comes}
databases:
  description: The databases that M(flaskops.hosting.mysql_database) has noted on the host.
  returned: always
  type: list
  elements: str
  sample: [shop]
apps:
  description: The apps of this collection on the host, by name, with what they noted and which release is live.
  returned: always
  type: dict
  sample: {shop: {root: /srv/shop, live: 3f786850e387-89e6c98d}}
  contains:
    live:
      description: Name of the release that is live. Empty for none.
      returned: always
      type: str
      sample: 3f786850e387-89e6c98d
    databases:
      description: The databases that it uses, as far as its environment and its units show; they may be on another host.
      returned: always
      type: list
      elements: str
      sample: [shop]
    live_since:
      description: When it went live, in UTC. Empty for none.
      returned: with O(status)
      type: str
      sample: "2026-11-21T08:00:00Z"
    health:
      description: What its health path answers through the web server.
      returned: with O(status), if a release is live
      type: str
      sample: 200 OK
    processes:
      description: What systemd, supervisord or Apache says of each process, by its name.
      returned: with O(status), if a release is live
      type: dict
      sample: {web: active}
    workers:
      description: How each of its workers is, how often it was started again by itself, and since when it is so, by its name.
      returned: with O(status), if a release is live
      type: dict
      sample: {rq-1: {state: active, restarts: "0", since: Sat 2026-11-21 08:00:00 UTC}}
    jobs:
      description: Whether each of its jobs runs now, when it last began, how that ended, and when it runs next, by its name.
      returned: with O(status), if a release is live
      type: dict
      sample: {cleanup: {state: waits, last: Sat 2026-11-21 00:00:00 UTC, result: success, next: Sun 2026-11-22 00:00:00 UTC}}
    logged:
      description: What O(process) can name.
      returned: with O(status), if a release is live
      type: list
      elements: str
      sample: [web, rq, cleanup]
    log:
      description: The last lines that the app wrote, without its secrets.
      returned: with O(status), if a release is live
      type: list
      elements: str
      sample: ["2026-11-21T08:00:00+00:00 gunicorn[1234]: Listening at: unix:/srv/shop/releases/3f786850e387-89e6c98d/run/app.sock"]
    follow:
      description: The command that follows its log on the host, as root.
      returned: with O(status), if a release is live
      type: str
      sample: "journalctl --follow --unit='shop@*'"
    previous:
      description: The release that a rollback goes to. Empty for none.
      returned: with O(status)
      type: str
      sample: 0fcd19b3a1d2-89e6c98d
    certificate:
      description: >-
        Of the certificate of the app's site, C(days) that are left, C(expires), C(issuer), C(next) and C(error), as in RV(certificates). Empty
        without HTTPS, or if a load balancer has it.
      returned: with O(status)
      type: dict
      sample: {days: 89, expires: "2027-02-19T08:00:00Z", issuer: Let's Encrypt, next: "2027-01-20T08:00:00Z", error: ""}
    database_certificate:
      description: >-
        The same of the certificate of the host's database server, if the app uses one of its databases. Empty if the server takes no connections from
        other hosts.
      returned: with O(status)
      type: dict
      sample: {days: 3649, expires: "2036-11-26T08:00:00Z", issuer: web1, next: "", error: ""}
    maintenance:
      description: Whether visitors get the maintenance page.
      returned: with O(status)
      type: bool
      sample: false
    releases:
      description:
        - The releases that are kept, oldest first, each with its name, its source's version, when it was made and went live, who made it live,
          why it failed, and whether the web server, as it is configured, would reach it.
      returned: with O(status)
      type: list
      elements: dict
      sample:
        - {name: 0fcd19b3a1d2-89e6c98d, version: v1.4, created: "2026-11-20T08:00:00Z", live: "", by: "", failed: it raised KeyError, fits: true}
"""
