// Package explain follows one request through the whole mesh without sending
// it: which service and port its host means, which dialect governs there and
// who loses, which rule matches and why the others do not, what is done to the
// request, where it goes, and every value that holds on its way with where it
// comes from.
//
// Nothing is decided here. Policy says what holds, translate makes the resources
// that a proxy of that caller would get, the proxy's own compiler makes a table
// of them, and the table's own matchers are asked; so what is told is what a
// proxy does. It is the one room that looks into both wings.
//
// The package is pure: no I/O, no clock. What only the running mesh knows, the
// state of breakers, is given to it as a value.
package explain
