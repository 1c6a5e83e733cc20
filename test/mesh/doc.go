// Package mesh runs the real recloser-proxy for the suites: it builds the
// program, writes its resources, starts it, waits until it is ready, reads its
// admin port and its process's figures, and ends it with the test.
//
// A suite sees the proxy as its users do, from outside: programs, sockets,
// files and the admin port. Nothing here imports the product.
package mesh
