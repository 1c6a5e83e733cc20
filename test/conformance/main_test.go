package conformance

import (
	"os"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }
