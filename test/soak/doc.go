// Package soak runs traffic of all kinds through a proxy while everything around
// it changes: endpoints come and go, instances are replaced, upstreams recycle
// their connections, listeners are added, changed and removed. No upstream fails
// by itself, so not one request may fail; and when the traffic has ended,
// nothing of it may be left in the proxy.
//
// SOAK sets how long it goes on: 20s unless told otherwise.
package soak
