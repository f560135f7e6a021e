# Everything a developer does here, by name. `make` without a target lists all targets.
.DEFAULT_GOAL := help
.PHONY: help venv demo urls demo-down test test-all unit lint build docs bench bench-http load testssl clean
SHELL := bash

help:
	@echo 'make venv         the Python environment with ansible-playbook, in .venv'
	@echo 'make demo         start a local fleet and host the documented apps on it, in one command'
	@echo 'make urls         topology, app and URL of all apps of the demo, one per line'
	@echo 'make demo-down    remove the fleet: containers, network, key'
	@echo 'make test         lint, unit tests, molecule scenarios, each promise on a target: half an hour on two processors'
	@echo 'make test-all     all variants of them too, and make load (hours)'
	@echo 'make unit         only the unit tests (seconds)'
	@echo "make lint         ruff, mypy, ansible-lint (profile production), yamllint, ansible-test sanity, galaxy-importer, the site's links"
	@echo 'make molecule-X   one scenario: converge and verify (molecule/X); its containers stay'
	@echo 'make build        the tarball for Galaxy, in build/'
	@echo 'make docs         the documentation as a site, in build/docs; docs/topologies from docs/facts.yml, docs/http.md from docs/http.yml'
	@echo 'make bench        our runs measured against a bare shell script'
	@echo 'make bench-http   processor time for a request, against the same servers set up by hand'
	@echo 'make load         ten releases under load on every topology, kind of socket and kind of worker (an hour)'
	@echo 'make testssl      what testssl.sh finds of HTTPS on nginx and on Apache (ten minutes)'
	@echo 'make clean        demo-down, and remove everything that was made: .venv, .cache, images'

venv:
	@dev/venv

demo:
	@dev/venv
	@dev/engine
	@dev/fleet up inventories/docker
	@.venv/bin/python dev/ca.py
	@dev/demo
	@dev/show table

urls:
	@dev/show urls

demo-down:
	@dev/fleet down --all
	@dev/engine stop

test:
	@dev/test

test-all:
	@SUITE=all dev/test

unit:
	@dev/venv
	@PATH=$(CURDIR)/.venv/bin:$$PATH pytest tests/unit

lint:
	@dev/venv
	@dev/browser
	@PATH=$(CURDIR)/.venv/bin:$$PATH pytest tests/test_lint.py tests/test_sanity.py tests/test_galaxy.py tests/test_docs.py

build:
	@dev/venv
	@.venv/bin/ansible-galaxy collection build --force --output-path build

molecule-%:
	@dev/venv
	@dev/engine
	@! grep -qs e2e molecule/$*/molecule.yml || dev/browser
	@dev/molecule converge $*
	@dev/molecule verify $*

docs:
	@dev/venv
	@dev/docs

bench:
	@dev/venv
	@dev/engine
	@dev/bench

bench-http:
	@dev/venv
	@dev/engine
	@dev/load
	@dev/target/build ubuntu-like-ready >/dev/null
	@PATH=$(CURDIR)/.venv/bin:$$PATH python dev/bench-http

load:
	@SUITE=all dev/test tests/load --numprocesses 1

testssl:
	@dev/venv
	@dev/engine
	@PATH=$(CURDIR)/.venv/bin:$$PATH pytest tests/nightly --capture=no

clean:
	@[ ! -x .venv/bin/molecule ] || PATH=$(CURDIR)/.venv/bin:$$PATH molecule destroy >/dev/null 2>&1 || true
	@dev/fleet down --all
	@images=$$(dev/docker images --filter 'reference=flaskops-*' --format '{{.Repository}}:{{.Tag}}' 2>/dev/null); \
	  [ -z "$$images" ] || dev/docker rmi $$images >/dev/null || true
	@dev/engine stop
	@rm -rf .venv .cache .ansible build
	@echo 'clean: removed everything that was made here'
