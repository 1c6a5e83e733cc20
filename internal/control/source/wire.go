package source

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Encode writes an object as JSON with its apiVersion and kind, so that another
// program can read it with Restore.
func Encode(o *Object) (json.RawMessage, error) {
	raw, err := json.Marshal(o.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Key, err)
	}
	has, ok := o.Value.(interface {
		GroupVersionKind() schema.GroupVersionKind
	})
	if !ok || len(raw) < 2 || raw[0] != '{' {
		return nil, fmt.Errorf("%s: a %T is no object", o.Key, o.Value)
	}
	switch is := has.GroupVersionKind(); {
	case is.Version != "" && is.Kind != "":
		return raw, nil
	case is != (schema.GroupVersionKind{}):
		return nil, fmt.Errorf("%s: it has apiVersion %q and kind %q, and needs both or none", o.Key, is.GroupVersion(), is.Kind)
	}
	// It was made by a program, which need not say what a Go type says already.
	kind, _, _ := strings.Cut(string(o.Kind), ".") // without a group
	head := fmt.Sprintf(`{"kind":%q,"apiVersion":%q`, kind, otherVersion(string(o.Kind)))
	if string(raw) == "{}" {
		return json.RawMessage(head + "}"), nil
	}
	return json.RawMessage(head + "," + string(raw[1:])), nil
}

// Restore reads what Encode wrote. Unlike a Decoder it checks nothing: whoever
// wrote it has read it from its source and has told what is wrong with it.
func Restore(raw json.RawMessage, from *Origin) (Object, error) {
	var is metav1.TypeMeta
	if err := json.Unmarshal(raw, &is); err != nil {
		return Object{}, err
	}
	u, ok := lookUpKind(is.APIVersion, is.Kind)
	if !ok {
		return Object{}, fmt.Errorf("kind %s/%s is not known to this program: is it older than the control plane?", is.APIVersion, is.Kind)
	}
	value := reflect.New(u.typ).Interface()
	if err := json.Unmarshal(raw, value); err != nil {
		return Object{}, fmt.Errorf("%s: %w", is.Kind, err)
	}
	meta := value.(metav1.Object)
	return Object{Key: Key{u.kind, meta.GetNamespace(), meta.GetName()}, Value: value, Origin: from}, nil
}
