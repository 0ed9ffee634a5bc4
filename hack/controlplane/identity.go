package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	adminUser = "vmscaler-lab-admin"
	lifetime  = 10 * 365 * 24 * time.Hour
)

// identity is what a cluster proves itself with: kept beside its data, so that clients of a kept cluster go on trusting it.
type identity struct {
	folder string
	ca     []byte // PEM
	token  string
}

func (i identity) caFile() string     { return filepath.Join(i.folder, "ca.crt") }
func (i identity) certFile() string   { return filepath.Join(i.folder, "server.crt") }
func (i identity) keyFile() string    { return filepath.Join(i.folder, "server.key") }
func (i identity) signerFile() string { return filepath.Join(i.folder, "service-account.key") }
func (i identity) tokenFile() string  { return filepath.Join(i.folder, "tokens.csv") }

// openIdentity reads the identity in a data folder, or makes it. It is made in a folder of another name and then renamed:
// half an identity is never found.
func openIdentity(data string) (identity, error) {
	made := identity{folder: filepath.Join(data, "identity")}
	if _, err := os.Stat(made.folder); os.IsNotExist(err) {
		fresh := identity{folder: made.folder + ".new"}
		if err := os.RemoveAll(fresh.folder); err != nil {
			return made, err
		}
		if err := fresh.create(); err != nil {
			return made, fmt.Errorf("cannot make the cluster's certificates: %w", err)
		}
		if err := os.Rename(fresh.folder, made.folder); err != nil {
			return made, err
		}
	}
	var err error
	if made.ca, err = os.ReadFile(made.caFile()); err != nil {
		return made, err
	}
	token, err := os.ReadFile(filepath.Join(made.folder, "token"))
	made.token = string(token)
	return made, err
}

func (i identity) create() error {
	if err := os.Mkdir(i.folder, 0o700); err != nil {
		return err
	}
	ca := template("vmscaler lab cluster CA")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := template("kube-apiserver")
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.IPAddresses, leaf.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// As issued, with its key identifier: the leaf must name it, or Python 3.13 and later refuse the leaf.
	issuer, err := writeCertificate(i.caFile(), ca, ca, caKey, caKey)
	if err != nil {
		return err
	}
	if _, err := writeCertificate(i.certFile(), leaf, issuer, leafKey, caKey); err != nil {
		return err
	}
	// The CA's key is not kept: nothing else is ever to be signed with it.
	for file, key := range map[string]*ecdsa.PrivateKey{i.keyFile(): leafKey, i.signerFile(): signer} {
		if err := writeKey(file, key); err != nil {
			return err
		}
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	token := hex.EncodeToString(secret)
	line := fmt.Sprintf("%s,%s,%s,system:masters\n", token, adminUser, adminUser)
	if err := os.WriteFile(i.tokenFile(), []byte(line), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(i.folder, "token"), []byte(token), 0o600)
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(lifetime),
	}
}

func writeCertificate(file string, child, parent *x509.Certificate, childKey, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, child, parent, &childKey.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// client is how the controllers and the readiness checks talk to the API server: with no throttle of their own.
func (i identity) client(server string) *rest.Config {
	return &rest.Config{
		Host:            server,
		BearerToken:     i.token,
		TLSClientConfig: rest.TLSClientConfig{CAData: i.ca},
		UserAgent:       "vmscaler-controlplane",
		QPS:             -1,
	}
}

func (i identity) writeKubeconfig(file, server string) error {
	const name = "vmscaler-lab"
	content := clientcmdapi.NewConfig()
	content.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: i.ca}
	content.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: i.token}
	content.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	content.CurrentContext = name
	return clientcmd.WriteToFile(*content, file) // 0600
}
