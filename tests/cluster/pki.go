package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// authority signs every certificate of one cluster.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate("ferrolb test cluster")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, cert: cert, key: key, PEM: encode("CERTIFICATE", der)}
	return a, write(a.file("ca.crt"), a.PEM)
}

// restoreAuthority knows what clients need of an authority that another process made.
func restoreAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir}
	var err error
	a.PEM, err = os.ReadFile(a.file("ca.crt"))
	return a, err
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes NAME.crt and NAME.key for a subject that may be a client and, at the given addresses and names, a server.
func (a *authority) issue(name, user string, groups []string, hosts ...string) error {
	key, err := a.newKey(name)
	if err != nil {
		return err
	}
	template := certificate(user)
	template.Subject.Organization = groups
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	return write(a.file(name+".crt"), encode("CERTIFICATE", der))
}

// newKey writes NAME.key, and NAME.pub for those who only check signatures.
func (a *authority) newKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if err := write(a.file(name+".pub"), encode("PUBLIC KEY", public)); err != nil {
		return nil, err
	}
	return key, write(a.file(name+".key"), encode("PRIVATE KEY", secret))
}

// kubeconfig writes NAME.kubeconfig for the subject of NAME.crt, or for the bearer of a token if there is one.
func (a *authority) kubeconfig(name, token, server string) (string, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: a.PEM}
	user := &clientcmdapi.AuthInfo{Token: token}
	if token == "" {
		var err error
		if user.ClientCertificateData, err = os.ReadFile(a.file(name + ".crt")); err != nil {
			return "", err
		}
		if user.ClientKeyData, err = os.ReadFile(a.file(name + ".key")); err != nil {
			return "", err
		}
	}
	config.AuthInfos[name] = user
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: name, Namespace: "default"}
	config.CurrentContext = "test"
	path := a.file(name + ".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

func certificate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
