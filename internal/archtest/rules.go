// Package archtest holds the module to the picture in ARCHITECTURE.md: imports run
// down only, the two wings of the mesh (control plane and data plane) meet in
// xDS and nowhere else, and what must stay small stays small.
//
// rules.go says what is forbidden and why; check.go reads the imports of every
// Go file, whatever its build constraints, and holds them against the rules.
// The package is run by its own test and imported by nothing.
package archtest

// module is the path that the module's own packages start with. Patterns below
// name them without it.
const module = "github.com/reclosermesh/recloser"

// floors are the rooms of the module from the ground up. A package may import
// its own room and the rooms of lower floors: never one above, and never
// another room of its own floor. A room is named by its longest entry here.
var floors = [][]string{
	{"breaker", "api"},
	{"internal/identity", "internal/telemetry"},
	{"internal/control", "internal/proxy"},
	{"internal/lab", "internal/explain", "internal/observe"},
	{"internal/plane"},
	{"internal/local"},
	{"internal/cli"},
	{"cmd"},
}

// aside are rooms outside the floors, with rules of their own below.
var aside = []string{"internal/meshtest", "internal/archtest"}

// A rule forbids imports. Patterns are import paths, relative to the module
// for its own packages; one that ends in /... stands for all below it too.
// "external" is all but the standard library; "fakes" is every package of ours
// whose name ends in test.
type rule struct {
	name   string
	from   []string // the packages that it binds
	not    []string // of these, the ones that it does not bind
	deny   []string // what they may not import
	except []string // of these, what they may import after all
	tests  bool     // it binds their test files too
	why    string
}

var rules = []rule{
	{
		name:   "breaker stands alone",
		from:   []string{"breaker/..."},
		deny:   []string{"external"},
		except: []string{"breaker/..."},
		why:    "any Go program can take the breaker without taking a mesh, and the simulator runs the very code that the proxy runs",
	},
	{
		name:  "the wings meet in xDS: control",
		from:  []string{"internal/control/..."},
		deny:  []string{"internal/proxy/..."},
		tests: true,
		why:   "a control plane that knows the proxy's insides would say things to it that no other xDS client understands",
	},
	{
		name:  "the wings meet in xDS: proxy",
		from:  []string{"internal/proxy/..."},
		deny:  []string{"internal/control/..."},
		tests: true,
		why:   "a proxy that knows the control plane's insides could not be told anything by another one",
	},
	{
		name: "only explain looks into both wings",
		from: []string{"internal/cli/...", "internal/local/...", "internal/plane/...", "internal/observe/...", "cmd/recloser"},
		deny: []string{"internal/proxy/..."},
		why:  "proxies are other processes, spoken to over xDS, metrics and their admin port, on a laptop as in a cluster",
	},
	{
		name: "the data plane stays small",
		from: []string{"internal/proxy/...", "internal/telemetry/...", "internal/identity/...", "cmd/recloser-proxy"},
		deny: []string{
			"k8s.io/...", "istio.io/...", "sigs.k8s.io/...", "github.com/prometheus/prometheus/...",
			"github.com/spf13/...", "charm.land/...",
		},
		except: []string{"sigs.k8s.io/yaml"},
		tests:  true,
		why:    "there is one proxy per workload: each megabyte and each dependency is paid that many times",
	},
	{
		name: "the request path has no net/http",
		from: []string{"internal/proxy/..."},
		not:  []string{"internal/proxy/admin/..."},
		deny: []string{"net/http/...", "golang.org/x/net/http2/h2c"},
		why:  "net/http allocates for each request and repairs what we must refuse; telemetry and admin serve people, not requests",
	},
	{
		name: "a leaf does not know its composition: control",
		from: []string{"internal/control/..."},
		not:  []string{"internal/control"},
		deny: []string{"internal/control"},
		why:  "the composition is read top to bottom; a leaf gets what it needs as a value",
	},
	{
		name: "a leaf does not know its composition: proxy",
		from: []string{"internal/proxy/..."},
		not:  []string{"internal/proxy"},
		deny: []string{"internal/proxy"},
		why:  "the request path is read top to bottom; a leaf gets what it needs as a value",
	},
	{
		name: "the parser does no input and output",
		from: []string{"internal/proxy/http1"},
		deny: []string{"net/...", "os/...", "internal/..."},
		why:  "a parser of bytes alone can be fuzzed and compared with others without a socket",
	},
	{
		name: "commands are cli's",
		from: []string{"..."},
		not:  []string{"internal/cli/...", "internal/lab/apps/..."},
		deny: []string{"github.com/spf13/..."},
		why:  "flags and exit statuses belong to the command line; rooms take a Config (the sample programs of lab/apps are programs with flags of their own)",
	},
	{
		name: "the embedded Prometheus is observe's",
		from: []string{"..."},
		not:  []string{"internal/observe/..."},
		deny: []string{"github.com/prometheus/prometheus/..."},
		why:  "the user may bring a Prometheus of their own: one room decides which it is and all others ask in PromQL",
	},
	{
		name: "kinds are only data",
		from: []string{"api/..."},
		deny: []string{"internal/...", "breaker/...", "cmd/..."},
		why:  "other people's programs import the kinds",
	},
	{
		name: "fakes are for tests",
		from: []string{"..."},
		not:  []string{"fakes"},
		deny: []string{"fakes", "testing/...", "github.com/google/go-cmp/...", "go.uber.org/goleak", "github.com/rogpeppe/go-internal/..."},
		why:  "what only tests need must not reach a binary that people run",
	},
	{
		name:  "nothing imports a program or this test",
		from:  []string{"..."},
		deny:  []string{"cmd/...", "internal/archtest"},
		tests: true,
		why:   "mains are wiring",
	},
}
