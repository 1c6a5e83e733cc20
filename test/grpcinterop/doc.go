// Package grpcinterop runs gRPC's own interop client against gRPC's own interop
// server, directly and through proxies, and asks what the proxies saw of it:
// the status in the trailers is what decides, and a refusal is gRPC too.
package grpcinterop
