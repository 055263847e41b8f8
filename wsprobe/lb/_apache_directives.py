"""Which of Apache's directives are read, and which are known to leave the request and the upgrade alone."""

import re

from wsprobe.lb._apache_grammar import Node

_READ = {
    "virtualhost", "location", "locationmatch", "proxy", "proxymatch", "directory", "directorymatch", "files",
    "filesmatch", "if", "elseif", "else", "limit", "limitexcept", "requireall", "requireany", "requirenone",
    "servername", "serveralias", "listen", "documentroot", "timeout", "proxytimeout", "keepalivetimeout",
    "requestreadtimeout", "proxypass", "proxypassmatch", "proxypreservehost", "proxyaddheaders", "proxyvia",
    "proxyset", "balancermember", "sslproxyengine", "sslengine", "proxywebsocketfallbacktoproxyhttp", "requestheader",
    "header", "setenvif", "setenvifnocase", "setenvifexpr", "browsermatch", "browsermatchnocase", "setenv", "unsetenv",
    "passenv", "rewriteengine", "rewriterule", "rewritecond", "rewriteoptions", "redirect", "redirectmatch",
    "redirectpermanent", "redirecttemp", "alias", "aliasmatch", "scriptalias", "scriptaliasmatch", "require", "order",
    "allow", "deny", "satisfy", "authtype", "limitrequestline", "limitrequestfieldsize", "limitrequestfields",
    "allowencodedslashes", "loadmodule", "remoteipheader",
}  # fmt: skip
_HARMLESS = {
    "user", "group", "serveradmin", "serversignature", "servertokens", "serverroot", "pidfile", "mutex", "errorlog",
    "customlog", "transferlog", "logformat", "loglevel", "globallog", "defaultruntimedir", "hostnamelookups",
    "usecanonicalname", "usecanonicalphysicalport", "keepalive", "maxkeepaliverequests", "listenbacklog",
    "extendedstatus",
    "errordocument", "options", "accessfilename", "allowoverride", "allowoverridelist", "directoryindex",
    "directoryslash",
    "fallbackresource", "proxypassreverse", "proxypassreversecookiedomain", "proxypassreversecookiepath",
    "proxyrequests", "proxybadheader", "proxyerroroverride", "proxyiobuffersize", "proxyreceivebuffersize",
    "proxystatus", "proxysourceaddress", "proxydomain", "noproxy", "proxyblock", "proxymaxforwards",
    "proxypassinherit", "proxyftpdircharset", "authname", "authuserfile", "authgroupfile", "authbasicprovider",
    "authbasicauthoritative", "authbasicfake", "authdigestprovider", "authmerging", "authzsendforbiddenonfailure",
    "protocols", "protocolshonororder", "acceptpathinfo", "acceptfilter", "enablesendfile", "enablemmap", "fileetag",
    "contentdigest", "traceenable", "typesconfig", "forcetype", "defaulttype", "sethandler", "removehandler",
    "sendbuffersize", "receivebuffersize", "threadsperchild", "startservers", "minsparethreads", "maxsparethreads",
    "maxrequestworkers", "maxclients", "maxconnectionsperchild", "maxrequestsperchild", "serverlimit", "threadlimit",
    "minspareservers", "maxspareservers", "scoreboardfile", "coredumpdirectory", "gracefulshutdowntimeout",
    "limitrequestbody", "limitxmlrequestbody", "limitinternalrecursion", "addtype", "addencoding", "addlanguage",
    "addcharset", "adddefaultcharset", "removetype", "removeencoding", "addoutputfilterbytype", "setoutputfilter",
    "addoutputfilter", "filterdeclare", "filterprovider", "filterchain", "filterprotocol", "xsendfile", "xsendfilepath",
    "namevirtualhost", "rewritebase", "rewritelog", "rewriteloglevel", "rewritemap", "xbithack", "imapmenu",
    "httpprotocoloptions", "mergeslashes", "mergetrailers", "stricthostcheck", "seerequesttail", "unsafeallow3f",
    "remoteipinternalproxy", "remoteiptrustedproxy", "remoteipproxiesheader", "charsetdefault",
    "lbmethod", "qualifyredirecturl", "regexdefaultoptions", "languagepriority",
    "forcelanguagepriority",
}  # fmt: skip
_PREFIXES = re.compile(
    r"(ssl|index|expires|cache|dav|php_|md|brotli|deflate|mime|ldap|h2|fcgid|fastcgi|passenger|suexec|suphp|ident"
    r"|heartbeat|log|adddescription|addicon|addalt|defaulticon|readmename|headername|balancergrowth|balancerinherit"
    r"|balancerpersist|session|authform|authldap|authdbd|authdbm|authn|oidc|substitute|sed|filter|scriptlog|unixd"
    r"|proxyhtml|proxyfcgi|proxyscgi|proxyexpress|proxyhc|cgi|wsgi|lua|sec|perl|python|authjwt|jwt|maxranges|chroot)"
)
_UNREAD = {"h2websockets", "proxyhtmlrequestfilter"}


_OF_THE_CONFIG = {
    "define", "undefine", "include", "includeoptional", "ifmodule", "ifdefine", "ifversion", "iffile", "macro", "use",
    "undefmacro", "error",
}  # fmt: skip


def is_directive(name: str) -> bool:
    """Whether it is the name of a directive or section, in lower case."""
    return name in _READ or name in _HARMLESS or name in _OF_THE_CONFIG or bool(_PREFIXES.match(name))


def known(node: Node) -> bool:
    """Whether a directive is read, or is known to leave the request and the upgrade alone."""
    return node.name not in _UNREAD and is_directive(node.name)


_OF_A_SERVER = {
    "proxytimeout", "timeout", "keepalivetimeout", "keepalive", "limitrequestfieldsize", "limitrequestline",
    "limitrequestfields", "servername", "serveralias", "documentroot", "proxyrequests", "proxyvia", "listen",
    "requestreadtimeout", "allowencodedslashes", "rewritemap", "sslproxyengine", "sslengine", "traceenable",
}  # fmt: skip
"""Directives of a server or a virtual host: in a section for paths or upstreams they keep Apache from starting."""


def misplaced(node: Node, section: str) -> bool:
    """Whether a directive may not stand in that section; the empty one is the server itself."""
    of_an_upstream = node.name == "sslproxyengine" and section.lower().startswith("proxy")
    return bool(section) and node.name in _OF_A_SERVER and not of_an_upstream
