package cli

import (
	"slices"
	"testing"
)

func TestReadable(t *testing.T) {
	given := []string{"a.yaml", "-", "./-"}
	if got := readable(given); !slices.Equal(got, []string{"a.yaml", "/dev/stdin", "./-"}) || given[1] != "-" {
		t.Errorf("%q of %q", got, given)
	}
}
