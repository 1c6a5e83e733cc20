package source

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value turns a node into what encoding/json would give for it, as far as the
// type allows: fields that the type does not have are left out and told.
func (w *walker) value(n *yaml.Node, t reflect.Type, path string, depth int) any {
	n = resolve(n)
	if w.tooLarge(n, path, depth) {
		return nil
	}
	if (depth <= 3 || w.deep) && path != "" {
		w.origin.Fields[path] = w.line(n)
	}
	if d, ok := messageOf(t); ok {
		return w.message(n, d, path, depth)
	}
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if n.Tag == "!!null" {
		return nil
	}
	if decodesItself(t) {
		return w.opaque(n, t, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.structure(n, t, path, depth)
	case reflect.Map:
		return w.mapping(n, t, path, depth)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return w.leaf(n, t, path)
		}
		return w.sequence(n, t, path, depth)
	case reflect.Interface:
		return w.opaque(n, t, path)
	default:
		return w.leaf(n, t, path)
	}
}

func (w *walker) tooLarge(n *yaml.Node, path string, depth int) bool {
	w.nodes++
	if depth <= maxDepth && w.nodes <= maxNodes {
		return false
	}
	w.problem(Problem{
		Code: "too-large", Severity: Error, Line: w.line(n), Field: path,
		Reason: fmt.Sprintf("a document may have %d values and %d levels", maxNodes, maxDepth),
	})
	return true
}

func (w *walker) structure(n *yaml.Node, t reflect.Type, path string, depth int) any {
	if n.Kind != yaml.MappingNode {
		w.wrongType(n, path, "an object")
		return nil
	}
	fields := map[string]reflect.Type{}
	collectFields(t, fields)
	out := map[string]any{}
	w.pairs(n, path, depth, func(k, v *yaml.Node) {
		sub := join(path, k.Value)
		ft, ok := fields[k.Value]
		if !ok {
			w.unknownField(k, sub, t.Name(), fields)
			return
		}
		if got := w.value(v, ft, sub, depth+1); got != nil {
			out[k.Value] = got
		}
	})
	return out
}

func (w *walker) mapping(n *yaml.Node, t reflect.Type, path string, depth int) any {
	if n.Kind != yaml.MappingNode {
		w.wrongType(n, path, "a map")
		return nil
	}
	out := map[string]any{}
	w.pairs(n, path, depth, func(k, v *yaml.Node) {
		if got := w.value(v, t.Elem(), path+`["`+k.Value+`"]`, depth+1); got != nil {
			out[k.Value] = got
		}
	})
	return out
}

func (w *walker) sequence(n *yaml.Node, t reflect.Type, path string, depth int) any {
	if n.Kind != yaml.SequenceNode {
		w.wrongType(n, path, "a list")
		return nil
	}
	out := make([]any, 0, len(n.Content))
	for i, c := range n.Content {
		out = append(out, w.value(c, t.Elem(), fmt.Sprintf("%s[%d]", path, i), depth+1))
	}
	return out
}

// pairs calls f for each key and value, those of merge keys ("<<") first, and
// tells keys that stand twice.
func (w *walker) pairs(n *yaml.Node, path string, depth int, f func(k, v *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), n.Content[i+1]
		if k.Tag == "!!merge" {
			w.merge(resolve(v), path, depth+1, f)
			continue
		}
		if k.Kind != yaml.ScalarNode {
			w.wrongType(k, path, "a name")
			continue
		}
		if seen[k.Value] {
			w.problem(Problem{
				Code: "duplicate-key", Severity: Error, Line: w.line(k), Field: join(path, k.Value),
				Reason: "this stands twice; one of the two would be lost",
			})
			continue
		}
		seen[k.Value] = true
		f(k, v)
	}
}

func (w *walker) merge(v *yaml.Node, path string, depth int, f func(k, v *yaml.Node)) {
	if w.tooLarge(v, path, depth) {
		return
	}
	switch v.Kind {
	case yaml.MappingNode:
		w.pairs(v, path, depth, f)
	case yaml.SequenceNode:
		// The first one wins in YAML, the last call wins in f.
		for _, v0 := range slices.Backward(v.Content) {
			w.merge(resolve(v0), path, depth+1, f)
		}
	}
}

// leaf is a string, number, or truth value. encoding/json has the last word on
// ranges.
func (w *walker) leaf(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind != yaml.ScalarNode {
		w.wrongType(n, path, describe(t))
		return nil
	}
	var v any
	if t.Kind() == reflect.String || t.Kind() == reflect.Slice {
		if n.Tag != "!!str" && n.Tag != "!!binary" && n.Tag != "!!timestamp" {
			w.wrongType(n, path, "a string")
			return nil
		}
		v = n.Value
	} else {
		p := reflect.New(t)
		// A bool may be a yes or no of YAML 1.1, which is a string here; a
		// fraction would be cut off.
		whole := t.Kind() != reflect.Bool && t.Kind() != reflect.Float64 && t.Kind() != reflect.Float32
		if whole && n.Tag != "!!int" || n.Tag == "!!str" && t.Kind() != reflect.Bool || n.Decode(p.Interface()) != nil {
			w.wrongType(n, path, describe(t))
			return nil
		}
		v = p.Elem().Interface()
	}
	raw, err := json.Marshal(v)
	if err != nil || json.Unmarshal(raw, reflect.New(t).Interface()) != nil {
		w.wrongType(n, path, describe(t))
		return nil
	}
	return v
}

// opaque is a type that reads JSON by itself: a quantity, a time, an
// int-or-string.
func (w *walker) opaque(n *yaml.Node, t reflect.Type, path string) any {
	var v any
	if err := n.Decode(&v); err != nil {
		w.wrongType(n, path, describe(t))
		return nil
	}
	if s, ok := v.(string); !ok && n.Tag == "!!timestamp" {
		_ = s
		v = n.Value
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err != nil {
		w.wrongType(n, path, describe(t))
		return nil
	}
	return v
}

func (w *walker) wrongType(n *yaml.Node, path, want string) {
	p := Problem{
		Code: "wrong-type", Severity: Error, Line: w.line(n), Field: path, Value: brief(n),
		Allowed: want, Reason: "this has the wrong type",
	}
	if want == "a string" && n.Kind == yaml.ScalarNode {
		p.Mend = fmt.Sprintf("put it in quotes: %q", n.Value)
	}
	w.problem(p)
}

// unknownField tells of a field that typ does not have: an error, which refuses
// the object, where what is left of it would hold for more than was meant.
func (w *walker) unknownField(k *yaml.Node, path, typ string, fields map[string]reflect.Type) {
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	p := Problem{
		Code: "unknown-field", Severity: Warning, Line: w.line(k), Field: path,
		Reason: "there is no such field; it is passed over",
	}
	p.Mend = Meant(k.Value, sorted(names))
	if narrows(typ, Nearest(k.Value, names)) {
		p.Severity = Error
		p.Reason = "there is no such field; without it this would be for other requests than was meant, so the object is refused"
		if p.Mend == "" {
			p.Allowed = strings.Join(names, ", ")
		}
	}
	w.problem(p)
}

func decodesItself(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
