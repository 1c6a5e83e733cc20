package file

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher tells that something may have changed. It does not say what: the
// files are compared by content. Without notifications (too many watches, an
// exotic file system) it waits for the rescan.
type watcher struct {
	paths []string
	fs    *fsnotify.Watcher // nil when notifications are not to be had
	dirs  map[string]bool
}

func newWatcher(paths []string) *watcher {
	w := &watcher{paths: paths, dirs: map[string]bool{}}
	if f, err := fsnotify.NewWatcher(); err == nil {
		w.fs = f
	}
	return w
}

func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close() // nothing is lost by a watch that does not close
	}
}

// follow watches the folders that matter now. Folders are watched, never
// files: an editor that writes a new file and renames it leaves a watch on a
// file that nobody sees any more. Where links lead is watched too.
func (w *watcher) follow() {
	if w.fs == nil {
		return
	}
	want := map[string]bool{}
	for _, p := range w.paths {
		want[filepath.Dir(p)] = true
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		want[filepath.Dir(real)] = true
		if info, err := os.Stat(real); err == nil && info.IsDir() {
			want[p], want[real] = true, true
			w.followEntries(p, want)
		}
	}
	for d := range w.dirs {
		if !want[d] {
			_ = w.fs.Remove(d) // it may be gone
			delete(w.dirs, d)
		}
	}
	for d := range want {
		// A folder that was deleted and made again has lost its watch, so it
		// is always added; adding twice is free.
		if w.fs.Add(d) == nil {
			w.dirs[d] = true
		} else {
			delete(w.dirs, d)
		}
	}
}

// followEntries adds the folders that the links of a folder lead to.
func (w *watcher) followEntries(dir string, want map[string]bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name())); err == nil {
			want[filepath.Dir(real)] = true
		}
	}
}

// wait returns true when it is time to look: after a change and a quiet time,
// or after the rescan time. It returns false when ctx has ended.
func (w *watcher) wait(ctx context.Context, quiet, rescan time.Duration) bool {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if w.fs != nil {
		events, errs = w.fs.Events, w.fs.Errors
	}
	timer := time.NewTimer(rescan)
	defer timer.Stop()
	var deadline time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-errs: //nolint:errcheck // whatever it is: events may be lost, so look soon
		case e := <-events:
			if e.Op == fsnotify.Chmod {
				continue
			}
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(maxDebounce * quiet)
		}
		timer.Reset(min(quiet, time.Until(deadline)))
	}
}
