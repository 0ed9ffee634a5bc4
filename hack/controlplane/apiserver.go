package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

const patience = 60 * time.Second

// runAPIServer serves until ctx ends. It does what app.NewAPIServerCommand does, without that command's signal handler and
// with a listener that is open already, so that nobody can take the port in between.
func runAPIServer(ctx context.Context, listener net.Listener, etcd string, who identity) error {
	settings := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	sets := settings.Flags()
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	err := flags.Parse([]string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		// No pod ever looks for the API server's endpoints, and 127.0.0.1 may not stand in them.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + who.certFile(),
		"--tls-private-key-file=" + who.keyFile(),
		"--token-auth-file=" + who.tokenFile(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + who.signerFile(),
		"--service-account-signing-key-file=" + who.signerFile(),
		"--service-cluster-ip-range=10.0.0.0/24",
		// There is no controller that makes each namespace's default account, so pods must not wait for one.
		"--disable-admission-plugins=ServiceAccount",
		"--profiling=false",
	})
	if err != nil {
		return err
	}
	settings.SecureServing.Listener = listener
	if err := settings.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{}) // the server's own clients would log warnings that it issued itself
	if err := logsapi.ValidateAndApply(settings.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	completed, err := settings.Complete(ctx)
	if err != nil {
		return err
	}
	if found := completed.Validate(); len(found) != 0 {
		return utilerrors.NewAggregate(found)
	}
	return app.Run(ctx, completed)
}

// untilServing waits for /readyz, which includes the start-up hooks that write the built-in roles.
func untilServing(ctx context.Context, admin *rest.Config, ended chan error) error {
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return err
	}
	return until(ctx, ended, "kube-apiserver is not ready", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// untilUsable waits for what clients take for granted: the namespace `default`, and the aggregated roles being filled.
func untilUsable(ctx context.Context, admin *rest.Config, ended chan error) error {
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return err
	}
	return until(ctx, ended, "the cluster is not usable", func(ctx context.Context) error {
		if _, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, name := range []string{"view", "edit", "admin"} {
			role, err := client.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if len(role.Rules) == 0 {
				return fmt.Errorf("the aggregated role %s has no rules yet", name)
			}
		}
		return nil
	})
}

func until(ctx context.Context, ended chan error, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New(what))
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case failed := <-ended:
			ended <- failed // whoever waits for the end reads it too
			return fmt.Errorf("kube-apiserver ended: %w", failed)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
