package control

import "github.com/reclosermesh/recloser/internal/control/source/file"

// ReadingOf is what a control plane would say of files that it has read.
func ReadingOf(paths []string, o *Offline) (*Reading, error) {
	return readingOf(o.World, o.Policy, file.Load(paths).Problems)
}
