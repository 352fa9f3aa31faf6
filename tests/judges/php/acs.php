<?php
// A whole ACS of which the SOAP is PHP's own extension, without a WSDL.  Run: php -S HOST:PORT acs.php
//
// In the directory of the environment variable DESK: plan.json is a list of requests to the device, each
// [method, [[argument, value], …]]; said.jsonl gets a line for each message of the device, as PHP reads it.
//
// A value is a text, a number, a Boolean, a list of texts, or an object: {"type": "…", "value": …} for a value
// whose type PHP can't guess, {"struct": "…", "members": [{…}, …]} for an array of structures.
const CWMP = "urn:dslforum-org:cwmp-1-0";
const ENCODING = "http://schemas.xmlsoap.org/soap/encoding/";

function desk(string $name): string { return getenv("DESK") . "/" . $name; }

function say(string $method, mixed $said): void {
    $flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR;
    file_put_contents(desk("said.jsonl"), json_encode([$method, $said], $flags) . "\n", FILE_APPEND);
}

function encoded(mixed $value): mixed {
    if (!is_array($value) || array_is_list($value)) return $value;
    if (isset($value["type"])) return new SoapVar($value["value"], constant("XSD_" . strtoupper($value["type"])));
    $struct = fn($members) => new SoapVar(
        (object) array_map("encoded", $members), SOAP_ENC_OBJECT, $value["struct"], CWMP, $value["struct"]
    );
    return new SoapVar(array_map($struct, $value["members"]), SOAP_ENC_ARRAY, "Array", ENCODING);
}

// What the device calls.
class Methods {
    function ID($name) {}  // it must be understood; PHP sends none back
    function Inform($device, $events, $most, $time, $retries, $parameters) {
        say("Inform", func_get_args());
        return new SoapParam(1, "MaxEnvelopes");
    }
    function GetRPCMethods() {
        say("GetRPCMethods", []);
        return new SoapParam(["Inform", "GetRPCMethods", "TransferComplete"], "MethodList");
    }
    function TransferComplete($key, $fault, $begun, $complete) { say("TransferComplete", func_get_args()); }
    function __call($name, $arguments) {
        $fault = "<FaultCode>8000</FaultCode><FaultString>Method not supported</FaultString>";
        $detail = '<detail><c:Fault xmlns:c="' . CWMP . "\">$fault</c:Fault></detail>";
        throw new SoapFault("Server", "CWMP fault", null, new SoapVar($detail, XSD_ANYXML));
    }
}

// What is asked of the device: the client of the extension, whose other end is here.
class Asking extends SoapClient {
    public string $request = "";
    public string $answer = '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body/></e:Envelope>';
    function __construct() {
        parent::__construct(null, ["location" => "http://device.invalid/", "uri" => CWMP, "exceptions" => false]);
    }
    function __doRequest($request, $location, $action, $version, $oneWay = false): ?string {
        $this->request = $request;
        return $this->answer;
    }
    function ask(array $planned): mixed {
        [$method, $arguments] = $planned;
        return $this->__soapCall($method, array_map(fn($one) => new SoapParam(encoded($one[1]), $one[0]), $arguments));
    }
}

function first_in_body(string $post): string {  // the extension that reads XML is another one
    return preg_match('/<(?:[\w-]+:)?Body\b[^>]*>\s*<(?:[\w-]+:)?([\w.-]+)/', $post, $found) ? $found[1] : "";
}

session_start();
$post = file_get_contents("php://input");
$plan = json_decode(file_get_contents(desk("plan.json")), true, 64, JSON_THROW_ON_ERROR);
if ($post !== "") {
    $said = first_in_body($post);
    if ($said === "Inform") $_SESSION = ["next" => 0];
    elseif (!isset($_SESSION["next"])) { http_response_code(400); exit("no session"); }
    if ($said !== "Fault" && !str_ends_with($said, "Response")) {
        $server = new SoapServer(null, ["uri" => CWMP, "soap_version" => SOAP_1_1]);
        $server->setObject(new Methods());
        $server->handle($post);
        exit;
    }
    $asking = new Asking();
    $asking->answer = $post;
    $got = $asking->ask($plan[$_SESSION["next"]]);
    say($said, is_soap_fault($got) ? [$got->faultcode, $got->faultstring, $got->detail ?? null] : $got);
    $_SESSION["next"]++;
}
if (!isset($_SESSION["next"])) { http_response_code(400); exit("no session"); }
if ($_SESSION["next"] >= count($plan)) { session_destroy(); http_response_code(204); exit; }
$asking = new Asking();
$asking->ask($plan[$_SESSION["next"]]);
header('Content-Type: text/xml; charset="utf-8"');
echo $asking->request;
