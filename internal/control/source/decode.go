package source

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reclosermesh/recloser/api/v1alpha1"
)

// Bounds of a document, against aliases that multiply and depth that does not
// end (the YAML specification bounds neither).
const (
	maxNodes = 500_000
	maxDepth = 100
	// maxProblems of one document are told; more would hide them all.
	maxProblems = 100
)

// What RFC 1123 allows, in words.
const (
	allowedLabel     = "at most 63 lower-case letters, digits and inner dashes"
	allowedSubdomain = "at most 253 lower-case letters, digits, inner dashes and dots"
)

// walker reads one document.
type walker struct {
	decoder *Decoder
	offset  int // lines before the document
	out     Document

	object string // of the object being read, for problems
	origin *Origin
	failed bool // the object being read has an error
	nodes  int
}

func (w *walker) problem(p Problem) {
	if p.Severity == Error {
		w.failed = true
	}
	if len(w.out.Problems) >= maxProblems {
		return
	}
	p.File = w.decoder.File
	if p.Object == "" {
		p.Object = w.object
	}
	w.out.Problems = append(w.out.Problems, p)
}

func (w *walker) line(n *yaml.Node) int { return n.Line + w.offset }

// top reads an object, or a List of them.
func (w *walker) top(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		w.out.Unreadable = true
		w.problem(Problem{
			Code: "not-an-object", Severity: Error, Line: w.line(n), Value: brief(n),
			Reason: "a document must be an object with apiVersion and kind",
		})
		return
	}
	apiVersion, kind := scalar(n, "apiVersion"), scalar(n, "kind")
	if apiVersion == "v1" && strings.HasSuffix(kind, "List") {
		if items := child(n, "items"); items != nil && items.Kind == yaml.SequenceNode {
			for _, c := range items.Content {
				w.top(resolve(c))
			}
		}
		return
	}
	w.one(n, apiVersion, kind)
}

// one reads a single object.
func (w *walker) one(n *yaml.Node, apiVersion, kind string) {
	meta := child(n, "metadata")
	name, namespace := scalar(meta, "name"), scalar(meta, "namespace")
	w.object, w.failed = "", false
	if kind != "" && name != "" {
		w.object = Key{Kind(kind), namespace, name}.String()
	}
	u, ok := lookUpKind(apiVersion, kind)
	if !ok {
		w.unknownKind(n, apiVersion, kind)
		return
	}
	if u.namespaced && namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	if !u.namespaced {
		namespace = ""
	}
	key := Key{u.kind, namespace, name}
	w.object = key.String()
	w.origin = &Origin{Source: w.decoder.Source, File: w.decoder.File, Line: w.line(n), Fields: map[string]int{}}
	if name == "" {
		w.object = strings.ToLower(kind)
		w.problem(Problem{
			Code: "no-name", Severity: Error, Line: w.line(n), Field: "metadata.name",
			Reason: "an object needs a name",
		})
		return
	}

	w.checkName("metadata.name", name, meta, u.kind)
	if namespace != "" {
		w.checkNamespace(namespace, meta)
	}
	value := reflect.New(u.typ)
	tree := w.value(n, u.typ, "", 0)
	if !w.failed {
		w.fill(value.Interface(), tree, n)
	}
	if v, ok := reflect.TypeAssert[interface{ Validate() error }](value); ok && !w.failed {
		w.invalid(v.Validate())
	}
	if w.failed {
		w.out.Bad = append(w.out.Bad, key)
		return
	}
	value.Interface().(metav1.Object).SetNamespace(namespace)
	w.out.Objects = append(w.out.Objects, Object{Key: key, Value: value.Interface(), Origin: w.origin})
}

// fill decodes the cleaned tree into the object.
func (w *walker) fill(into, tree any, n *yaml.Node) {
	raw, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		w.problem(Problem{Code: "wrong-type", Severity: Error, Line: w.line(n), Reason: err.Error()})
	}
}

func (w *walker) invalid(err error) {
	if err == nil {
		return
	}
	parts := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		parts = j.Unwrap()
	}
	for _, e := range parts {
		p := Problem{Code: "invalid-field", Severity: Error, Line: w.origin.Line, Reason: e.Error()}
		if fe, ok := errors.AsType[*v1alpha1.FieldError](e); ok {
			p.Field, p.Value, p.Reason = fe.Field, fe.Value, fe.Allowed
			p.Line = w.origin.LineOf(fe.Field)
		}
		w.problem(p)
	}
}

func (w *walker) checkName(field, name string, meta *yaml.Node, kind Kind) {
	check, allowed := validation.IsDNS1123Subdomain, allowedSubdomain
	if kind == Service || kind == Namespace {
		// RFC 1123 labels: they become one element of a host name. Kubernetes
		// asks for RFC 1035 of Services; a digit in front harms nobody here.
		check, allowed = validation.IsDNS1123Label, allowedLabel
	}
	if len(check(name)) > 0 {
		w.problem(Problem{
			Code: "bad-name", Severity: Error, Line: w.lineOfKey(meta, "name"), Field: field, Value: name,
			Allowed: allowed, Reason: "this name cannot be part of a host name",
		})
	}
}

func (w *walker) checkNamespace(namespace string, meta *yaml.Node) {
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		w.problem(Problem{
			Code: "bad-name", Severity: Error, Line: w.lineOfKey(meta, "namespace"), Field: "metadata.namespace", Value: namespace,
			Allowed: allowedLabel, Reason: "this namespace cannot be part of a host name",
		})
	}
}

func (w *walker) lineOfKey(n *yaml.Node, key string) int {
	if c := child(n, key); c != nil {
		return w.line(c)
	}
	return w.origin.Line
}

// unknownKind passes an object over, with the reason.
func (w *walker) unknownKind(n *yaml.Node, apiVersion, kind string) {
	p := Problem{
		Code: "unknown-kind", Severity: Warning, Line: w.line(n), Field: "kind",
		Value: strings.TrimPrefix(apiVersion+"/"+kind, "/"), Reason: "this kind is not understood and is passed over",
	}
	switch other := otherVersion(kind); {
	case kind == "" || apiVersion == "":
		p.Code, p.Severity = "no-kind", Error
		p.Reason = "an object needs apiVersion and kind"
		w.out.Unreadable = true
	case elsewhere[apiVersion+"/"+kind]:
		p.Severity = Info
		p.Reason = "this kind has no meaning for the mesh and is passed over"
	case other != "":
		p.Allowed = other + "/" + kind
		p.Mend = "write apiVersion: " + other
	default:
		if near := Nearest(kind, kindNames()); near != "" {
			p.Mend = "did you mean " + near + "?"
		}
	}
	w.problem(p)
}

// value turns a node into what encoding/json would give for it, as far as the
// type allows: fields that the type does not have are left out and told.
func (w *walker) value(n *yaml.Node, t reflect.Type, path string, depth int) any {
	n = resolve(n)
	if w.tooLarge(n, path, depth) {
		return nil
	}
	if depth <= 3 && path != "" {
		w.origin.Fields[path] = w.line(n)
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
			w.unknownField(k, sub, fields)
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

func (w *walker) unknownField(k *yaml.Node, path string, fields map[string]reflect.Type) {
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	p := Problem{
		Code: "unknown-field", Severity: Warning, Line: w.line(k), Field: path,
		Reason: "there is no such field; it is passed over",
	}
	if near := Nearest(k.Value, sorted(names)); near != "" {
		p.Mend = "did you mean " + near + "?"
	}
	w.problem(p)
}

func decodesItself(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
