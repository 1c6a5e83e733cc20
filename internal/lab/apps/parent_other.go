//go:build !linux

package apps

// EndWithParent does nothing: only Linux can end a process with its parent.
func EndWithParent(func(string) string) error { return nil }
