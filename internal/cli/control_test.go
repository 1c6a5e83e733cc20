package cli

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestControlScripts runs lint and policy as a user does, without a mesh.
func TestControlScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/control"})
}
