// Package bbpb is the protocol of the sample program bb over gRPC, generated
// from bb.proto by api/generate.sh.
package bbpb
