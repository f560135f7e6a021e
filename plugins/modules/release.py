#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stage, activate and remove releases of a WSGI app: the documentation of the action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage, activate and remove releases of a WSGI app
version_added: 0.1.0
description:
  - A release is one immutable directory, C(releases/<name>) below the app's root, that holds the code, a link to its
    virtual environment, its environment variables and its server's settings.
  - Its name is the hash of the code, the same on every host, and a hash of the configuration that is keyed by a secret
    of the host. So the same input gives no second release, and the name reveals no secret.
  - O(state=staged) puts a release on the host and accepts it only if its app imports and answers its health path
    in the release's own virtual environment, as the app's account, in the sandbox of its unit, with the release's environment.
  - O(state=workers_ending) tells the workers of the live release to end, so that with several hosts none of them gets a message of a release that
    is live on another one. If no release goes live in 15 minutes, they are started again.
  - O(state=live) starts the release's instance, waits until it is healthy, flips the symlink C(current), and stops the
    instance that served before. If anything fails, the release that was live keeps serving. With O(source) instead of O(release),
    it stages the release first.
  - O(state=rolled_back) does the same for a release that was live before and is still on the host.
  - O(state=restarted) has the live release's processes replaced, once the app has passed its pre-flight check again. Gunicorn, uWSGI and mod_wsgi
    lose no request then. The development server is stopped and started.
  - O(state=run) runs O(commands) in a release as its app would, such as a migration before it goes live.
  - O(state=absent) stops the app and removes its releases, units and tree. It goes by what the host has noted of the app, and removes nothing else;
    an app that the host has noted nothing of is not there.
author: flaskops contributors (@flaskops)
options:
  state:
    description: What is to be done.
    type: str
    choices: [staged, workers_ending, live, rolled_back, restarted, run, absent]
    required: true
  app:
    description: Name of the app, such as V(shop). Its instances are named C(<app>@<release>).
    type: str
    required: true
  root:
    description: Directory of the app's tree, such as V(/srv/shop).
    type: path
    required: true
  source:
    description:
      - The code, on the controller. A directory, an archive (C(.tar), C(.tar.gz), C(.zip), …) or the URL of a git repository,
        which the controller fetches, so that hosts need neither git nor keys. Needed with O(state=staged), and with O(state=live) if there is
        no O(release).
      - The submodules of a repository come along, and its files in Git LFS if C(git-lfs) is installed on the controller. A pointer of Git LFS
        that is not replaced by its file is rejected.
      - Not shipped is what is neither a file nor a link; a warning names it. A link that leads out of the source is rejected. The files of an
        archive may have 2 GiB.
      - Not shipped either are C(.git), caches of Python and its tools, virtual environments, C(node_modules), and C(.env) unless git tracks it.
        From a directory in a work tree of git, what C(.gitignore) names is not shipped.
    type: str
  version:
    description: The branch, tag or commit, if O(source) is a git repository.
    type: str
    default: HEAD
  exclude:
    description:
      - Patterns of files and directories in O(source) that are not shipped, such as V(docs) or V(**/*.psd). They start at the top of O(source).
        C(*) and C(?) stand for any characters of a name, C(**) for any directories.
    type: list
    elements: str
    default: []
  module:
    description: The WSGI callable, as V(module:name). V(module:create_app(\)) calls a factory. Needed with O(source).
    type: str
  python:
    description: The Python that virtual environments are made with.
    type: path
    default: /usr/bin/python3
  requirements:
    description:
      - The file in the source that says what the app needs, such as C(requirements.txt), C(pyproject.toml), C(uv.lock) or C(pylock.toml).
        V(auto) for the first of C(uv.lock), C(pylock.toml), C(requirements.txt) and C(pyproject.toml) that is there. Empty for none.
    type: str
    default: auto
  server_requirements:
    description:
      - What the application server needs in the virtual environment, as pip takes it. If the app requires one of these itself, its version
        is taken.
    type: list
    elements: str
    default: []
  server_minimum:
    description: Of O(server_requirements), the oldest versions that O(settings) suit, by their names, such as V(21.2.0) for V(gunicorn).
    type: dict
    default: {}
  build_commands:
    description:
      - Commands that complete the code when its virtual environment is built, such as those that make the files of a front end. Each is split as
        a shell would, and run without a shell, in the code, with its virtual environment first on C(PATH) and with O(environment).
      - An account that exists as long as they run runs them, in a sandbox. It may write the code and nothing else, and sees no secrets and
        no data of the app. Each may take 900 seconds.
    type: list
    elements: str
    default: []
  environment:
    description: Environment variables of the app.
    type: dict
    default: {}
  secrets:
    description:
      - Environment variables that nobody but root and the app may see. They are in no log, fact, diff or argument.
    type: dict
    default: {}
  environment_files:
    description:
      - Files on the host with more such variables, readable by root only, in the syntax of systemd's C(EnvironmentFile=).
        So a secret that was made on a host never leaves it. O(environment) and O(secrets) take precedence.
    type: list
    elements: path
    default: []
  settings:
    description:
      - The application server's files, written beside the code. O(instances[].file) names those that say how a process runs.
      - C(@RELEASE_PATH@) and C(@RELEASE@) in them become the release's directory and name.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: File name in the release.
        type: str
        required: true
      src:
        description: A template on the controller.
        type: str
      content:
        description: The text, instead of O(settings[].src).
        type: str
  configuration:
    description:
      - The options that M(flaskops.hosting.config_files) will have for what the app has outside of its tree, with O(state=staged). Nothing of it is
        written. If the release is on the host already, RV(settled) says whether all of this is, too.
    type: dict
    default: {}
  user:
    description: The app's account. It exists already.
    type: str
    default: wsgi
  group:
    description: The app's group. It exists already.
    type: str
    default: wsgi
  mount:
    description: The URL prefix that the app answers under.
    type: str
    default: /
  static:
    description: Directories of the source that the web server serves itself.
    type: list
    elements: str
    default: []
  shared:
    description: Directories of the source that are kept in C(shared/), writable for the app, across releases.
    type: list
    elements: str
    default: []
  instances:
    description: The processes that the release runs. The one that is named C(web) answers visitors.
    type: list
    elements: dict
    default: [{}]
    suboptions:
      name:
        description: Name of the process.
        type: str
        default: web
      manager:
        description: What runs it. With V(apache) it is mod_wsgi's daemon processes. With V(worker), systemd runs it, and it answers no visitors.
        type: str
        choices: [systemd, supervisord, apache, worker]
        default: systemd
      file:
        description:
          - Which of O(settings) says how it runs. A systemd unit or a program of supervisord, as O(instances[].manager) says. Empty for Apache.
        type: str
        default: app.service
      socket:
        description:
          - The unix socket that it listens at, a path in the release, so that two releases can run side by side. Empty if it has none of its own.
        type: str
        default: run/app.sock
      protocol:
        description: What it speaks at O(instances[].socket).
        type: str
        choices: [http, uwsgi]
        default: http
      log:
        description: The file that its errors go to, with O(instances[].manager=apache).
        type: str
        default: ""
      drain_timeout:
        description:
          - For a server that cuts short what it is sending when it stops, how many seconds it may have connections before it is stopped. With
            C(0), it is stopped at once.
        type: float
        default: 0.0
      settle:
        description: With O(instances[].manager=worker), how many seconds it must run before the release goes live.
        type: float
        default: 0.0
      check:
        description: With O(instances[].manager=worker), a command of the app that must end well before the release goes live.
        type: str
        default: ""
  jobs:
    description: Names of the jobs that the release runs. O(settings) has C(job-<name>.service) and C(job-<name>.timer) for each.
    type: list
    elements: str
    default: []
  memory_max:
    description: How many MiB of data a process of the app may have in the pre-flight, as its server lets it have later. V(0) for no limit.
    type: int
    default: 0
  health_path:
    description: The path below O(mount) that must answer 2xx before the release gets traffic.
    type: str
    default: /
  health_host:
    description: The C(Host) header of health requests.
    type: str
    default: localhost
  health_timeout:
    description: Seconds in which a started instance must become healthy. The pre-flight check has the same limit.
    type: int
    default: 30
  release:
    description:
      - Name of the release to make live or to run O(commands) in, as returned in RV(release). Needed with O(state=run), and with O(state=live) if
        there is no O(source).
      - Without one, O(state=rolled_back) takes the one that was live before the one that is, and has not failed.
    type: str
  commands:
    description:
      - With O(state=staged), what will be run in the release before it goes live. It may need that to answer its health path, so it is only
        imported now, and asked once they have run.
      - What O(state=run) runs, one after the other until one fails. Each is split as a shell would, and run without a shell, in the
        release's code directory, as the app's account, with its virtual environment first on C(PATH) and the release's whole environment.
        Each may take 900 seconds, and runs in the sandbox that the app's unit has; what it leaves running ends with it.
      - Ansible logs them, so they must not contain secrets. The command itself finds the app's secrets in its environment.
      - A command that fails marks a release that is not live as failed, so that it never goes live. One that is live stays.
    type: list
    elements: str
    default: []
  front:
    description: How to send the health check through the web server when the release is live. If it is left out, there is no such check.
    type: dict
    suboptions:
      address:
        description: The web server's address, as C(host:port).
        type: str
        required: true
      host:
        description: The C(Host) header.
        type: str
        required: true
      proof:
        description:
          - What the header C(X-Flaskops-App) in the web server's answer begins with, which shows that no other site has answered; the rest of it is
            the name of the release that has answered. The web server sends it if the question comes from the host itself and has the C(User-Agent)
            C(flaskops-health). Empty if any answer will do.
        type: str
        default: ""
      protocol:
        description: What the web server speaks there. With V(https), O(front.host) is also the name that the TLS handshake asks for.
        type: str
        choices: [http, https]
        default: http
  record:
    description:
      - What other apps on the host must know of this one, such as its sites and its processes, as RV(flaskops.hosting.survey#module:record) has it.
      - The module itself adds the app's name, its root and the units of its processes. If it is left out, the host's record does not change.
    type: dict
  keep:
    description:
      - How many releases O(state=live) keeps, the live one among them. The one that was live before stays, too, unless this is V(1).
    type: int
    default: 5
  remove_data:
    description: Whether O(state=absent) removes C(shared/) even if the app has written data there.
    type: bool
    default: false
  lines:
    description: How many lines of what O(commands) wrote are returned, the last ones.
    type: int
    default: 30
  by:
    description: Internal. Who runs Ansible, and where, such as V(ada@laptop). It is noted of a release that goes live.
    type: str
    default: ""
  archive:
    description: Internal. The path of the packed code, if it is too large to be sent with the task.
    type: path
  payload:
    description: Internal. What the controller sends and nobody may see.
    type: str
notes:
  - It needs root on the host, systemd, whatever O(instances[].manager) says, and C(python3-venv) on Debian and Ubuntu.
  - A failure says which release is live and whether it serves, and RV(output) has the last lines of the app or of pip.
attributes:
  check_mode:
    support: partial
    description: Shows what would be made, live or removed, and changes nothing.
    details:
      - The virtual environment is not built, so the pre-flight cannot run.
      - No command is run.
  diff_mode:
    support: full
    description: Shows what differs from the live release. Values of variables are shown as keyed hashes.
"""

EXAMPLES = r"""
- name: Stage a release
  flaskops.hosting.release:
    state: staged
    app: shop
    root: /srv/shop
    source: "{{ playbook_dir }}/shop"
    module: main:app
    user: shop
    group: shop
    server_requirements: [gunicorn==27.0.1]
    secrets:
      DATABASE_PASSWORD: "{{ vaulted_database_password }}"
    settings:
      - {src: app.service.j2, dest: app.service}
  register: staged

- name: Migrate the database
  flaskops.hosting.release:
    state: run
    app: shop
    root: /srv/shop
    release: "{{ staged.release }}"
    commands: [flask db upgrade]
  run_once: true

- name: Make it live
  flaskops.hosting.release:
    state: live
    app: shop
    root: /srv/shop
    release: "{{ staged.release }}"
    front: {address: "127.0.0.1:80", host: shop.example}

- name: Go back to the release before
  flaskops.hosting.release:
    state: rolled_back
    app: shop
    root: /srv/shop
    front: {address: "127.0.0.1:80", host: shop.example}

- name: Remove the app
  flaskops.hosting.release:
    state: absent
    app: shop
    root: /srv/shop
"""

RETURN = r"""
release:
  description: Name of the release.
  returned: unless O(state=absent)
  type: str
  sample: 3f786850e387-89e6c98d
build:
  description: Hash of the code.
  returned: when O(source) was staged
  type: str
  sample: 3f786850e387550fdab836ed7e6dc881de23001b
settled:
  description:
    - Whether nothing is to be done. The release was there already, it is live, O(record) is what the host has noted, and what O(configuration) names
      is as it must be.
  returned: when O(source) was staged, and the release was there already
  type: bool
  sample: true
previous:
  description: The release that was live before. Empty for none.
  returned: when O(state) is V(live) or V(rolled_back)
  type: str
  sample: 0fcd19b3a1d2-89e6c98d
removed:
  description: Releases that were removed because there are more than O(keep).
  returned: when O(state) is V(live) or V(rolled_back)
  type: list
  elements: str
  sample: []
steps:
  description: What was done, and how many seconds each step took.
  returned: when a release was staged, has gone live or was restarted
  type: list
  elements: str
  sample: ["laid down the code: 0.1 s", "built the virtual environment 0c01ade453b59093: 6.4 s"]
kept:
  description: Directories with the app's data that were not removed.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: [/srv/shop/shared]
output:
  description: The last lines that the app, pip or the commands wrote, without the app's secrets.
  returned: on failure, and when O(state=run)
  type: str
  sample: "ModuleNotFoundError: No module named 'flask'"
"""
