import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.CMSException;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.SignerId;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * Bouncy Castle as a judge of detached signatures: for tests/judges/test_bouncy_castle.py.
 *
 * <pre>
 * Judge sign CONTENT KEY CERTIFICATE [ALGORITHM attributes|direct BLOCK]...
 * Judge verify CONTENT BLOCK...
 * </pre>
 *
 * KEY is PKCS #8 and CERTIFICATE X.509, both in DER.  "verify" prints for each block how many signers it
 * has, then a line for each: the certificate of the block that it names, and the verdict.
 */
public final class Judge {
    private static final BouncyCastleProvider PROVIDER = new BouncyCastleProvider();

    private Judge() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length % 3 == 1 && arguments[0].equals("sign")) {
            var key = new PKCS8EncodedKeySpec(read(arguments[2]));
            var certificate = new X509CertificateHolder(read(arguments[3]));
            for (int index = 4; index < arguments.length; index += 3) {
                boolean direct = arguments[index + 1].equals("direct");
                byte[] block = sign(read(arguments[1]), key, certificate, arguments[index], direct);
                Files.write(Path.of(arguments[index + 2]), block);
            }
        } else if (arguments.length >= 3 && arguments[0].equals("verify")) {
            byte[] content = read(arguments[1]);
            for (int index = 2; index < arguments.length; index++) {
                verify(content, read(arguments[index]));
            }
        } else {
            throw new IllegalArgumentException("sign or verify, see the source");
        }
    }

    /** Signs as Bouncy Castle does where nobody asks for anything else: BER of indefinite length. */
    private static byte[] sign(
            byte[] content,
            PKCS8EncodedKeySpec key,
            X509CertificateHolder certificate,
            String algorithm,
            boolean direct)
            throws CMSException, GeneralSecurityException, IOException, OperatorCreationException {
        var rsa = KeyFactory.getInstance("RSA").generatePrivate(key);
        var digests = new JcaDigestCalculatorProviderBuilder().setProvider(PROVIDER).build();
        var signer = new JcaContentSignerBuilder(algorithm).setProvider(PROVIDER).build(rsa);
        var infos = new JcaSignerInfoGeneratorBuilder(digests).setDirectSignature(direct);
        var generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(infos.build(signer, certificate));
        generator.addCertificate(certificate);
        boolean encapsulate = false;
        return generator.generate(new CMSProcessableByteArray(content), encapsulate).getEncoded();
    }

    private static void verify(byte[] content, byte[] block) throws CMSException, OperatorCreationException {
        var signed = new CMSSignedData(new CMSProcessableByteArray(content), block);
        System.out.println("signers: " + signed.getSignerInfos().size());
        for (SignerInformation signer : signed.getSignerInfos()) {
            X509CertificateHolder certificate = find(signed, signer.getSID());
            System.out.println(certificate.getSubject() + ": " + verdict(signer, certificate));
        }
    }

    private static X509CertificateHolder find(CMSSignedData signed, SignerId signer) {
        for (X509CertificateHolder certificate : signed.getCertificates().getMatches(null)) {
            if (signer.match(certificate)) {
                return certificate;
            }
        }
        throw new IllegalArgumentException("a signer without a certificate");
    }

    private static String verdict(SignerInformation signer, X509CertificateHolder certificate)
            throws OperatorCreationException {
        try {
            var verifier = new JcaSimpleSignerInfoVerifierBuilder().setProvider(PROVIDER).build(certificate);
            return signer.verify(verifier) ? "valid" : "invalid";
        } catch (CMSException | GeneralSecurityException exception) {
            return "refused, " + exception.getMessage();
        }
    }

    private static byte[] read(String path) throws IOException {
        return Files.readAllBytes(Path.of(path));
    }
}
