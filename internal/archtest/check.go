package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An edge is one import: the importing package, relative to the module, what
// it imports (relative too for the module's own packages), and where.
type edge struct {
	from, to string
	file     string
	test     bool // the file is a test
}

// readImports returns the imports of every Go file below root. Build
// constraints are not looked at, so that a rule broken for one system is
// found on every other. Folders that the go command skips, and nested modules,
// are skipped.
func readImports(root fs.FS) ([]edge, error) {
	var edges []edge
	fset := token.NewFileSet()
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && skipFolder(root, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
			}
			edges = append(edges, edge{
				from: path.Dir(name),
				to:   strings.TrimPrefix(strings.TrimPrefix(to, module), "/"),
				file: name,
				test: strings.HasSuffix(name, "_test.go"),
			})
		}
		return nil
	})
	return edges, err
}

func skipFolder(root fs.FS, name string) bool {
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(root, path.Join(name, "go.mod"))
	return err == nil
}

// check returns one line for each edge that breaks a rule or a floor, with the
// reason of the rule, and one for each package that is in no room.
func check(edges []edge) []string {
	var broken []string
	homeless := map[string]bool{}
	for _, e := range edges {
		if from, _ := room(e.from); from == "" {
			if !homeless[e.from] {
				homeless[e.from] = true
				broken = append(broken, fmt.Sprintf("package %s is in no room: give it a floor in internal/archtest/rules.go", e.from))
			}
			continue
		}
		for _, r := range rules {
			if r.forbids(e) {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s: %s", e.file, e.to, r.name, r.why))
			}
		}
		if msg := wrongFloor(e); msg != "" {
			broken = append(broken, fmt.Sprintf("%s imports %s: %s", e.file, e.to, msg))
		}
	}
	return broken
}

func (r *rule) forbids(e edge) bool {
	return (r.tests || !e.test) &&
		matchAny(r.from, e.from) && !matchAny(r.not, e.from) &&
		matchAny(r.deny, e.to) && !matchAny(r.except, e.to)
}

// wrongFloor says what is wrong with an import between two rooms, or "". Tests
// may reach up: an example of a leaf at work in the whole is worth having.
func wrongFloor(e edge) string {
	from, fromFloor := room(e.from)
	to, toFloor := room(e.to)
	switch {
	case e.test || !own(e.to) || from == to || slices.Contains(aside, from) || slices.Contains(aside, to):
		return ""
	case to == "":
		return fmt.Sprintf("%s is in no room", e.to)
	case fromFloor > toFloor:
		return ""
	case fromFloor == toFloor:
		return fmt.Sprintf("%s and %s share a floor: rooms side by side stay independent, the room above joins them", from, to)
	default:
		return fmt.Sprintf("imports run down only: %s is above %s", to, from)
	}
}

// room returns the room that a package is in and its floor, or "" where it has
// none.
func room(pkg string) (name string, floor int) {
	for i, rooms := range floors {
		for _, r := range rooms {
			if match(r+"/...", pkg) && len(r) > len(name) {
				name, floor = r, i
			}
		}
	}
	for _, r := range aside {
		if match(r+"/...", pkg) {
			return r, -1
		}
	}
	return name, floor
}

// own tells whether a relative import path is one of this module's packages:
// no package of the standard library starts with these.
func own(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return slices.Contains([]string{"api", "breaker", "cmd", "internal"}, first)
}

// external tells whether an import path is outside the standard library, this
// module's own packages included.
func external(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return strings.Contains(first, ".") || own(pkg)
}

func matchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

func match(pattern, pkg string) bool {
	switch prefix, all := strings.CutSuffix(pattern, "..."); {
	case pattern == "external":
		return external(pkg)
	case pattern == "fakes":
		return own(pkg) && strings.HasSuffix(pkg, "test")
	case all:
		return prefix == "" || pkg == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(pkg, prefix)
	default:
		return pattern == pkg
	}
}
