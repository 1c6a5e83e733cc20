# Everything here needs Go and make alone; what else a target uses, it says.
#
#   make test       the tests, with the race detector where there is a C compiler
#   make demo       a mesh on this machine, and its breaker at work
#   make help       the other targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

GO      ?= go
# Programs are static and the same wherever they are built; all that compiles
# does so with the same settings, so that the build cache serves it all.
PURE    := CGO_ENABLED=0 GOFLAGS="$(shell $(GO) env GOFLAGS) -trimpath"
BUILD   := $(PURE) $(GO) build
LINT    := $(PURE) $(GO) tool -modfile=tools/go.mod golangci-lint

# The race detector needs cgo, hence a C compiler, on Linux. RACE= switches it
# off; RACE=-race demands it.
RACE    ?= $(shell command -v "$$($(GO) env CC)" >/dev/null 2>&1 && echo -race)
FUZZTIME ?= 3s
PKGS    ?= ./...
SUITES  ?= ./...

.PHONY: build
build: ## bin/recloser and bin/recloser-proxy
	$(BUILD) -o bin/ ./cmd/...

.PHONY: test
test: ## all tests (PKGS=./breaker/... for some)
	@[ -n "$(RACE)" ] || echo "make test: no C compiler here, so the tests run without the race detector"
	$(if $(RACE),CGO_ENABLED=1) $(GO) test $(RACE) $(PKGS)
	$(if $(filter ./...,$(PKGS)),@$(MAKE) suites)

# The suites look at the programs from outside, so the Go command cannot know
# when a result of theirs is out of date. One at a time: they measure.
.PHONY: suites
suites: build ## independent suites against the real proxy (SUITES=./soak SOAK=10m)
	cd test && RECLOSER="$(CURDIR)/bin/recloser" RECLOSER_PROXY="$(CURDIR)/bin/recloser-proxy" $(PURE) $(GO) test -count=1 -p 1 -timeout 30m $(SUITES)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (3s) each
	$(PURE) GO="$(GO)" .ci/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## golangci-lint and go vet; builds the linter on first use
	$(GO) mod verify
	$(LINT) run
	cd test && $(PURE) $(GO) tool -modfile=../tools/go.mod golangci-lint run

.PHONY: fmt
fmt: ## gofumpt and import order
	$(LINT) fmt

.PHONY: demo
demo: build ## the circuit-breaking demo, about a minute (DEMO_FLAGS=--fast)
	bin/recloser demo circuit-breaking $(DEMO_FLAGS)

.PHONY: bench
bench: build ## the proxy beside its peers, a quarter of an hour (BENCH_FLAGS="--rounds=3 --protocols=h2")
	@.ci/need wrk=wrk h2load=nghttp2-client nginx=nginx-light
	@.ci/need haproxy=haproxy nghttpx=nghttp2-proxy || echo "make bench: it goes without those"
	$(BUILD) -o bin/ ./internal/lab/perf/...
	RECLOSER_BENCH_ENVOY="$$(internal/lab/perf/need-envoy bench-out/envoy)" bin/recloser bench proxy $(BENCH_FLAGS)

.PHONY: microbench
microbench: ## the Go benchmarks, with their allocations
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

.PHONY: cross
cross: ## compile everything for linux and darwin, amd64 and arm64
	$(PURE) GO="$(GO)" .ci/cross

.PHONY: generate
generate: ## the Go code of the protos again; needs protoc
	@.ci/need protoc=protobuf-compiler
	api/generate.sh

.PHONY: clean
clean: ## remove bin and bench-out
	rm -rf bin bench-out

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
