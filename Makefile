# Every target works from a fresh clone; `make` alone lists them. Ansible is always the one of .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
LAB := .venv/bin/ansible-playbook -i inventories/lab

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-21s %s\n", $$1, $$2 }'

# --- The lab -------------------------------------------------------------------------------------------------------

.PHONY: setup demo lab stop-lab drill drill-all execution-environment clean
setup: ## Make this checkout ready: programs, .venv, link
	@scripts/setup

demo: ## Break the lab's Redis, recover it, and show what was proven
	@scripts/demo

lab: setup ## Start the stack to practise on
	@$(LAB) playbooks/start-lab.yml

stop-lab: setup ## Stop the lab; its data stays
	@$(LAB) playbooks/stop-lab.yml

drill: ## Break a lab of its own on purpose and judge the recovery: make drill FAULT=redis_killed
	@scripts/drill $(or $(FAULT),$(error FAULT is missing; there are: $(subst /,_,$(patsubst roles/drill/faults/%.yml,%,$(wildcard roles/drill/faults/*/*.yml)))))

drill-all: ## The same with every fault, two at a time, with a table
	@scripts/drill

execution-environment: setup ## Build the image for AWX (needs ansible-builder, and docker or podman)
	@rm -rf build && .venv/bin/ansible-galaxy collection build --output-path build >/dev/null
	@mv build/somabrain-incident_response-*.tar.gz build/somabrain-incident_response.tar.gz
	@ansible-builder build --tag somabrain-incident-response --context build/context

clean: ## Stop the lab, remove its data and what set-up made in this checkout
	@if [ -x .venv/bin/ansible-playbook ]; then $(LAB) playbooks/stop-lab.yml -e lab_remove_data=true; fi
	@rm -rf .venv .cache build playbooks/collections

# --- Tests ---------------------------------------------------------------------------------------------------------

STAGES := lint sanity galaxy unit integration molecule compat

.PHONY: test $(STAGES)
test: ## Prove everything: all stages below, with a table and a count at the end
	@scripts/test

lint: ## ruff, mypy, vermin, yamllint, ansible-lint, shellcheck
sanity: ## ansible-test sanity
galaxy: ## Build, import and install the collection
unit: ## Judgement by tables, house rules
integration: ## Real Redis, PostgreSQL and supervisor on loopback
molecule: ## Stories on real machines with systemd
compat: ## Oldest and newest ansible-core and Python
$(STAGES):
	@scripts/test $@

.PHONY: prove
prove: ## The long proofs, which go on where they stopped: races, kills, all drills, integration ten times (FRESH=1: begin again)
	@FRESH=$(FRESH) scripts/prove

.PHONY: bench
bench: ## Measure the speed beside other ways, write docs/performance.md (QUICK=1: less, only shown)
	@QUICK=$(QUICK) scripts/bench
