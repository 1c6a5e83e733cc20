package upstream

// Key is what of a request decides to which endpoint a hashing balancer sends
// it. The zero Key is of a request that says nothing of the sort: it goes where
// chance, or another balancer, has it.
type Key struct {
	// Hash is the hash that the route's policy made of the request.
	Hash uint64
	// Hashed tells whether there is one: 0 is a hash like any.
	Hashed bool
}
