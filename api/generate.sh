#!/usr/bin/env bash
# Makes the Go code of the protos again. Needs protoc (Debian: protobuf-compiler).
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PATH=$bin:$PATH protoc -I . \
  --go_out=. --go_opt=paths=source_relative \
  --go-grpc_out=. --go-grpc_opt=paths=source_relative \
  breaker/v1/breaker.proto report/v1/report.proto
# The sample program bb has a protocol of its own.
PATH=$bin:$PATH protoc -I ../internal/lab/apps/bbpb \
  --go_out=../internal/lab/apps/bbpb --go_opt=paths=source_relative \
  --go-grpc_out=../internal/lab/apps/bbpb --go-grpc_opt=paths=source_relative \
  bb.proto
