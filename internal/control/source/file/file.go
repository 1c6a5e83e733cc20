// Package file is the source that reads manifests from files and folders, and
// reads them again within a second of a change: a file that is written in
// place, replaced by rename, created or deleted, or a folder whose ..data link
// is swapped as the kubelet does with a mounted ConfigMap.
//
// A bad object keeps its last good version; a document that cannot be read at
// all keeps what its file gave before.
package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Defaults of Config.
const (
	DefaultDebounce = 40 * time.Millisecond
	DefaultRescan   = 5 * time.Second
	// DefaultGrace is below the second within which a deletion takes effect.
	DefaultGrace = 600 * time.Millisecond
	// maxDebounce bounds the wait when changes do not end.
	maxDebounce = 10 // times Debounce
	// maxFileSize bounds what is read by mistake.
	maxFileSize = 64 << 20
)

// Config of a Source.
type Config struct {
	// Paths are files and folders. Of a folder the files directly in it are
	// read whose names end in .yaml, .yml or .json and do not begin with a
	// dot.
	Paths []string
	// Debounce is how long it must be quiet after a change before files are
	// read again. Default 40ms.
	Debounce time.Duration
	// Rescan is how often everything is looked at although no change was
	// told: file systems without notifications. Default 5s.
	Rescan time.Duration
	// Grace is how long nothing is said of a file that has gone, or is empty, and
	// how long one that has gone from a folder keeps its objects: an editor may
	// take a moment between moving the old one away and writing the new one.
	// Default 600ms.
	Grace time.Duration
}

// Source reads files.
type Source struct {
	cfg Config

	// Owned by Load and Run, which are not called at the same time.
	files map[string]*file
	paths []source.Problem // of the paths themselves, at the last look
}

// file is what is known of one file.
type file struct {
	sum     [sha256.Size]byte
	objects []source.Object
	// problems of the last reading.
	problems []source.Problem
	// gone is since when a file that had objects is not there, or is empty:
	// most likely somebody is about to write it. Zero: it is there.
	gone time.Time
}

// missing tells whether a file has been gone for longer than the grace.
func (f *file) missing(grace time.Duration) bool {
	if f.gone.IsZero() {
		f.gone = time.Now()
	}
	return len(f.objects) == 0 || time.Since(f.gone) >= grace
}

// New makes a source. It does not read anything.
func New(cfg Config) *Source {
	if cfg.Debounce <= 0 {
		cfg.Debounce = DefaultDebounce
	}
	if cfg.Rescan <= 0 {
		cfg.Rescan = DefaultRescan
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	return &Source{cfg: cfg, files: map[string]*file{}}
}

// Name is "file".
func (s *Source) Name() string { return "file" }

// Check says which of the paths cannot be read, so that a command can refuse
// a mistyped name at once. A path that goes away later is not an error.
func Check(paths []string) error {
	var errs []error
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			errs = append(errs, fmt.Errorf("manifest %q: %w", p, errors.Unwrap(err)))
		}
	}
	return errors.Join(errs...)
}

// Load reads everything once, without watching.
func Load(paths []string) source.Update {
	u, _, _ := New(Config{Paths: paths}).scan()
	return u
}

// Run reads the files, publishes, and does so again after each change, until
// ctx ends.
func (s *Source) Run(ctx context.Context, publish func(source.Update)) error {
	w := newWatcher(s.cfg.Paths)
	defer w.close()
	first := true
	for {
		w.follow()
		u, changed, again := s.scan()
		if changed || first {
			publish(u)
			first = false
		}
		wait := s.cfg.Rescan
		if again {
			wait = 5 * s.cfg.Debounce
		}
		if !w.wait(ctx, s.cfg.Debounce, wait) {
			return nil
		}
	}
}

// scan reads what has changed. again asks to look once more soon.
func (s *Source) scan() (u source.Update, changed, again bool) {
	seen := map[string]bool{}
	order := []string{}
	for _, p := range s.cfg.Paths {
		names, err := list(p)
		waiting := s.waiting(p, names)
		if len(waiting) > 0 {
			names, again = append(names, waiting...), true
			slices.Sort(names)
			err = nil
		}
		if err != nil {
			problem := source.Problem{
				Code: "unreadable", Severity: source.Error, File: p, Reason: "this cannot be read: " + reason(err),
			}
			if names = s.known(p); len(names) > 0 {
				problem.Mend = "its last good objects stay until it can be read again"
			}
			u.Problems = append(u.Problems, problem)
		}
		for _, n := range names {
			if !seen[n] {
				seen[n] = true
				order = append(order, n)
			}
		}
	}
	if !slices.Equal(s.paths, u.Problems) {
		s.paths, changed = slices.Clone(u.Problems), true
	}
	for name := range s.files {
		if !seen[name] {
			delete(s.files, name)
			changed = true
		}
	}
	for _, name := range order {
		if s.files[name] != nil && !exists(name) {
			continue // kept, see waiting and known
		}
		c, a := s.read(name)
		changed, again = changed || c, again || a
	}
	s.assemble(&u, order)
	return u, changed, again
}

// waiting are the files of a path that were there and are not among its names
// now, but have not been gone for long.
func (s *Source) waiting(path string, names []string) []string {
	var out []string
	for name, f := range s.files {
		if (name == path || filepath.Dir(name) == filepath.Clean(path)) && !slices.Contains(names, name) && !f.missing(s.cfg.Grace) {
			out = append(out, name)
		}
	}
	return out
}

// known are the files of a path that were read before.
func (s *Source) known(path string) (names []string) {
	for name := range s.files {
		if name == path || filepath.Dir(name) == filepath.Clean(path) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// read looks at one file. A file that cannot be read keeps its objects.
func (s *Source) read(name string) (changed, again bool) {
	f := s.files[name]
	data, err := readFile(name)
	if err != nil {
		if f == nil {
			f = &file{}
			s.files[name] = f
		}
		p := source.Problem{Code: "unreadable", Severity: source.Error, File: name, Reason: "this cannot be read: " + reason(err)}
		if len(f.problems) == 1 && f.problems[0] == p {
			return false, true
		}
		f.problems, f.sum = []source.Problem{p}, [sha256.Size]byte{}
		return true, true
	}
	sum := sha256.Sum256(data)
	if f != nil && f.sum == sum {
		f.gone = time.Time{}
		return false, false
	}
	if f != nil && len(data) == 0 && len(f.objects) > 0 {
		return f.empty(name, s.cfg.Grace)
	}
	next := &file{sum: sum}
	next.parse(name, data, f)
	s.files[name] = next
	return true, false
}

// empty keeps the objects of a file that has none any more, and after the grace
// says so: a program that writes it may have failed.
func (f *file) empty(name string, grace time.Duration) (changed, again bool) {
	if !f.missing(grace) {
		return false, true
	}
	p := source.Problem{
		Code: "unreadable", Severity: source.Error, File: name,
		Reason: "this file is empty; its last good objects stay",
		Mend:   "write it again; to end its objects delete the file, or leave a comment in it",
	}
	if len(f.problems) == 1 && f.problems[0] == p {
		return false, false
	}
	f.problems, f.sum = []source.Problem{p}, [sha256.Size]byte{}
	return true, false
}

// parse reads the documents, with the last good versions from before.
func (f *file) parse(name string, data []byte, before *file) {
	dec := &source.Decoder{Source: "file", File: name}
	have := map[source.Key]bool{}
	bad := map[source.Key]bool{}
	unreadable := false
	docs, lines := source.Split(data)
	for i, doc := range docs {
		d := dec.Decode(doc, lines[i])
		f.objects = append(f.objects, d.Objects...)
		f.problems = append(f.problems, d.Problems...)
		unreadable = unreadable || d.Unreadable
		for _, o := range d.Objects {
			have[o.Key] = true
		}
		for _, k := range d.Bad {
			bad[k] = true
		}
	}
	if before == nil {
		return
	}
	for _, o := range before.objects {
		if have[o.Key] || !bad[o.Key] && !unreadable {
			continue
		}
		f.objects = append(f.objects, o)
		for i := range f.problems {
			if p := &f.problems[i]; bad[o.Key] && p.Severity == source.Error && p.Object == o.Key.String() {
				p.Reason += "; its last good version stays"
			}
		}
	}
	f.keepPointers(before)
}

// keepPointers takes over the values and origins that did not change, so that
// others see by their pointers that they did not.
func (f *file) keepPointers(before *file) {
	old := map[source.Key]*source.Object{}
	for i := range before.objects {
		old[before.objects[i].Key] = &before.objects[i]
	}
	for i := range f.objects {
		o := &f.objects[i]
		b := old[o.Key]
		if b == nil {
			continue
		}
		if reflect.DeepEqual(b.Value, o.Value) {
			o.Value = b.Value
		}
		if reflect.DeepEqual(b.Origin, o.Origin) {
			o.Origin = b.Origin
		}
	}
}

// assemble makes the update of all files, each object once.
func (s *Source) assemble(u *source.Update, order []string) {
	first := map[source.Key]*source.Object{}
	there := map[source.Key]bool{}
	for _, name := range order {
		if f := s.files[name]; f.gone.IsZero() {
			for i := range f.objects {
				there[f.objects[i].Key] = true
			}
		}
	}
	for _, name := range order {
		f := s.files[name]
		u.Problems = append(u.Problems, f.problems...)
		for i := range f.objects {
			o := &f.objects[i]
			if !f.gone.IsZero() && there[o.Key] {
				continue // the file was given another name
			}
			if prev := first[o.Key]; prev != nil {
				u.Problems = append(u.Problems, source.Duplicate(prev, o))
				continue
			}
			first[o.Key] = o
			u.Objects = append(u.Objects, *o)
		}
	}
}

// list names the files of a path, in order.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		ext := strings.ToLower(filepath.Ext(name))
		if strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" && ext != ".json" {
			continue
		}
		full := filepath.Join(path, name)
		if info, err := os.Stat(full); err != nil || !info.Mode().IsRegular() {
			continue
		}
		out = append(out, full)
	}
	slices.Sort(out)
	return out, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Size() > maxFileSize {
		return nil, fmt.Errorf("it has %d bytes; at most %d are read", info.Size(), maxFileSize)
	}
	return os.ReadFile(name)
}

// reason is an error without the path, which the problem names already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
