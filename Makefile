FUZZTIME ?= 10s

.PHONY: test-servers help build generate test test-vm demo bench lint fuzz clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

build: ## the agent, as build/apm-ebpf; installs Go where there is none
	@scripts/build

generate: ## compile bpf/ into internal/probe; needs clang, llvm-strip and libbpf's headers
	go generate ./...

test: ## all tests, those that load BPF programs too; needs root
	@scripts/test

test-servers: ## every Python server and application layer, many requests at once; needs root, installs the servers
	@APM_EBPF_SERVERS=1 scripts/test -run 'TestServers|TestModWSGI' -count 1

test-vm: ## Linux 5.10 to the newest, x86_64 and arm64, in emulated machines; takes an hour, so .ci/run only loads the programs on 5.10
	@scripts/test-vm $(MACHINES)

demo: ## a sample service, the agent beside it, and what it prints; needs root
	@scripts/demo

bench: ## what profiling costs here, beside other profilers; needs root (scripts/bench --help)
	@scripts/bench

lint: ## formats, linters, and whether generated files are current
	@scripts/lint

fuzz: ## each fuzz test for FUZZTIME (default 10s)
	@scripts/fuzz $(FUZZTIME)

clean: ## remove what was built here
	rm -rf build
