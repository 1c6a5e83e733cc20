// Package snapshot compiles xDS resources into what requests use: listeners,
// tables of routes, and the configuration of live clusters.
//
// A resource that is wrong is rejected by itself with its reasons, and the last
// good version of it stays. Nothing is used before it is warm: a cluster waits
// for its endpoints, a route for its clusters, a listener for its routes; until
// then the version before stays in use, with all that it names. So the order in
// which a control plane sends things cannot lose a request.
//
// Hosts of the outbound listener are subscribed when a request first names
// them, and unsubscribed when no request has named them for a while.
//
// Concurrency: a request loads one pointer (Hosts.Lookup) and takes no lock.
// All else happens under the Store's mutex; the live side of clusters belongs
// to package upstream and outlives every change here.
package snapshot
