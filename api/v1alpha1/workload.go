package v1alpha1

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Workload is a program outside of Kubernetes that takes part in the mesh:
// either a command that `recloser up` runs on this machine, or the addresses
// of something that already runs. A Service selects its instances by label, as
// it selects Pods.
type Workload struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec WorkloadSpec `json:"spec"`
}

// WorkloadSpec says what to run, or where it runs. Exactly one of Command and
// Addresses is set.
type WorkloadSpec struct {
	// Template gives labels and annotations to the instances. Its labels are
	// laid over the Workload's own.
	Template Template `json:"template,omitempty"`

	// Command is the program and, if wanted, its first arguments. A bare name
	// is looked up in PATH; a relative path with a slash is taken from
	// WorkingDir.
	Command []string `json:"command,omitempty"`
	// Args follow Command. $(NAME) in Command and Args is replaced as in Env.
	Args []string `json:"args,omitempty"`
	// Env is added to the environment of the mesh process. A value may contain
	// $(ADDRESS), $(PORT), $(PORT_NAME) with NAME a port's name in capitals,
	// $(X_SERVICE_HOST) and $(X_SERVICE_PORT) of services that are called by
	// address, and $(X) of a variable that stands earlier in the list; $$ is a
	// dollar.
	// Where the program should listen is always told by ADDRESS, PORT and
	// LISTEN_ADDR (ADDRESS:PORT) unless Env sets these names itself.
	Env []EnvVar `json:"env,omitempty"`
	// WorkingDir is where the program starts; relative paths are taken from
	// the folder of the manifest. Default: the folder of the manifest.
	WorkingDir string `json:"workingDir,omitempty"`
	// Replicas is how many instances run, 0 to 1000. Default 1. Each has an
	// address of its own, so that all may listen on the same port.
	Replicas *int32 `json:"replicas,omitempty"`

	// Addresses are of instances that already run, one each: an IP address, or
	// IP:PORT when there is exactly one port and the program listens on
	// another number than Ports says.
	Addresses []string `json:"addresses,omitempty"`

	// Ports that an instance listens on. The first is $(PORT).
	Ports []Port `json:"ports,omitempty"`

	// Readiness decides when an instance gets traffic. Default: each port has
	// accepted a TCP connection, once since the command was started; addresses
	// are connected to every ten seconds.
	Readiness *Readiness `json:"readiness,omitempty"`
}

// Template is what instances inherit.
type Template struct {
	Metadata TemplateMeta `json:"metadata,omitempty"`
}

// TemplateMeta is the part of an object's metadata that instances inherit.
type TemplateMeta struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Port is one port of an instance.
type Port struct {
	// Name is what a Service's targetPort may say; a DNS label of at most 15
	// characters. Needed when there is more than one port.
	Name string `json:"name,omitempty"`
	// Port is the number that callers and the Service's targetPort use, 1 to
	// 65535. The program is told by environment where it listens in fact.
	Port int32 `json:"port"`
	// AppProtocol is as in a Service: "http", "http2", "kubernetes.io/h2c",
	// "grpc", "tcp", "redis" … It counts where the Service says nothing itself.
	// Default: what callers speak is seen from what they say first.
	AppProtocol string `json:"appProtocol,omitempty"`
}

// Readiness is a probe that must succeed before an instance gets traffic. At
// most one of HTTPGet and TCPSocket is set; with none, each port must accept a
// TCP connection.
type Readiness struct {
	HTTPGet   *HTTPGet   `json:"httpGet,omitempty"`
	TCPSocket *TCPSocket `json:"tcpSocket,omitempty"`
	// InitialDelaySeconds before the first probe, from 0. Default 0.
	InitialDelaySeconds int32 `json:"initialDelaySeconds,omitempty"`
	// PeriodSeconds between probes, 1 to 3600. Default 1.
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`
	// TimeoutSeconds of one probe, 1 to 3600. Default 1.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// FailureThreshold is how many probes fail in a row before a ready
	// instance is not ready any more, 1 to 1000. Default 3.
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
}

// HTTPGet succeeds on a status from 200 to 399.
type HTTPGet struct {
	// Path begins with a slash. Default "/".
	Path string `json:"path,omitempty"`
	// Port is one of the Workload's ports by number. Default: the first.
	Port int32 `json:"port,omitempty"`
}

// TCPSocket succeeds when a connection is accepted.
type TCPSocket struct {
	// Port is one of the Workload's ports by number. Default: the first.
	Port int32 `json:"port,omitempty"`
}

// InstanceLabels are the labels of the Workload's instances: its own, and over
// them those of the template.
func (w *Workload) InstanceLabels() map[string]string {
	return merged(w.Labels, w.Spec.Template.Metadata.Labels)
}

// InstanceAnnotations are the annotations of the Workload's instances.
func (w *Workload) InstanceAnnotations() map[string]string {
	return merged(nil, w.Spec.Template.Metadata.Annotations)
}

// Replicas is the number of instances: the wanted replicas of a command
// (default 1), or the number of addresses.
func (w *Workload) Replicas() int {
	switch {
	case len(w.Spec.Addresses) > 0:
		return len(w.Spec.Addresses)
	case w.Spec.Replicas != nil:
		return int(*w.Spec.Replicas)
	default:
		return 1
	}
}

func merged(under, over map[string]string) map[string]string {
	out := make(map[string]string, len(under)+len(over))
	maps.Copy(out, under)
	maps.Copy(out, over)
	return out
}
