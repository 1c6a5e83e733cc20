package source

import (
	"encoding/json"
	"errors"
	"reflect"
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
	deep   bool // the lines of all its fields are kept, not of the upper ones alone
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
	w.object, w.deep = key.String(), saysPolicy(u.kind)
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

// saysPolicy tells whether findings and origins name any field of a kind. Of
// what runs they name the upper ones alone; there may be very many of those
// objects, and their specs are deep.
func saysPolicy(k Kind) bool {
	switch k {
	case Service, Pod, Namespace, Deployment, EndpointSlice, Workload:
		return false
	default:
		return true
	}
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
		if r, ok := errors.AsType[*refusal](e); ok {
			p = r.Problem
			p.Severity, p.Line = Error, w.origin.LineOf(p.Field)
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
		p.Mend = Meant(kind, kindNames())
	}
	w.problem(p)
}
