// Command cluster is every Kubernetes component of the test cluster in one program, chosen by its first argument:
// one link instead of six, and one build to keep.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the clients' metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components are those of Kubernetes itself; etcd, which reads its own arguments, is apart.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":              proxy.NewProxyCommand,
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: cluster COMPONENT [FLAGS]")
	}
	// The component sees itself as the program: its help, its flags and its log say its own name.
	os.Args = os.Args[1:]
	if os.Args[0] == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, known := components[os.Args[0]]
	if !known {
		fail(fmt.Sprintf("unknown component %q: use etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet or kube-proxy", os.Args[0]))
	}
	os.Exit(cli.Run(command()))
}

// fail ends the program as a wrong command line does.
func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
