package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Annotation is a change of an object's annotations: the body of POST
// /api/v1/annotate.
type Annotation struct {
	// Kind is service, deployment, pod, namespace or workload, or a short name of
	// one of them.
	Kind string `json:"kind"`
	// Namespace of the object; empty: the mesh's only one, or "default".
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Annotations are set; those that are null are removed.
	Annotations map[string]*string `json:"annotations"`
	// Overwrite allows to change a value that is there, as kubectl's --overwrite.
	Overwrite bool `json:"overwrite,omitempty"`
}

// Annotated is the answer to it.
type Annotated struct {
	// Object is KIND/NAME, as kubectl names it: service/bb.
	Object    string `json:"object"`
	Namespace string `json:"namespace"`
	// Absent are the annotations that should have been removed and were not there.
	Absent []string `json:"absent,omitempty"`
}

func (a Annotation) validate() error {
	var errs []error
	if a.Kind == "" || a.Name == "" {
		errs = append(errs, errors.New("kind and name are needed"))
	}
	if len(a.Annotations) == 0 {
		errs = append(errs, errors.New("at least one annotation is needed"))
	}
	for _, k := range slices.Sorted(maps.Keys(a.Annotations)) {
		if why := validation.IsQualifiedName(strings.ToLower(k)); len(why) > 0 {
			errs = append(errs, fmt.Errorf("annotation %q: %s", k, strings.Join(why, "; ")))
		}
	}
	return errors.Join(errs...)
}

func (o *Observer) annotate(w http.ResponseWriter, r *http.Request) error {
	if !isJSON(r) {
		return badRequestf("Content-Type %q: send application/json", r.Header.Get("Content-Type"))
	}
	var a Annotation
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return badRequestf("read the body: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequestf("read the body: there is something after the document")
	}
	if err := a.validate(); err != nil {
		return badRequest{err}
	}
	ref, err := stat.ParseRef(a.Kind + "/" + a.Name)
	if err != nil {
		return badRequest{err}
	}
	a.Kind = string(ref.Kind)
	if a.Namespace == "" {
		a.Namespace = o.defaultNamespace()
	}
	done, err := o.apply(a)
	if err != nil {
		return err
	}
	return reply(w, done)
}

// apply looks at what is there and changes it, one change at a time.
func (o *Observer) apply(a Annotation) (*Annotated, error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	have, ok := o.cfg.Configuration.Annotations(a.Kind, a.Namespace, a.Name)
	if !ok {
		return nil, &NotFoundError{fmt.Errorf("%s %q not found in namespace %q", a.Kind, a.Name, a.Namespace)}
	}
	done := &Annotated{Object: a.Kind + "/" + a.Name, Namespace: a.Namespace}
	var declared []string
	for _, k := range slices.Sorted(maps.Keys(a.Annotations)) {
		want := a.Annotations[k]
		value, exists := have[k]
		switch {
		case want == nil && !exists:
			done.Absent = append(done.Absent, k)
		case want != nil && exists && *want != value && !a.Overwrite:
			declared = append(declared, fmt.Sprintf("'%s' already has a value (%s)", k, value))
		}
	}
	if len(declared) > 0 {
		return nil, conflict{fmt.Errorf("--overwrite is false but found the following declared annotation(s): %s", strings.Join(declared, "; "))}
	}
	if err := o.cfg.Configuration.Annotate(a.Kind, a.Namespace, a.Name, a.Annotations); err != nil {
		return nil, badRequest{err}
	}
	return done, nil
}
