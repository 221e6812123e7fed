"""A proxy between milescale and PostgreSQL that knows where each message ends, and does something to one of them.

Messages of both directions are numbered as they come. WHAT happens to the n-th: `swallow` (from it on nothing passes), `late` (it waits
for 1.5 s), `later` (until the command has ended, and is sent then even though its sender has gone), `double` (twice), `cut`
(the connection ends before it), `cutafter` (after it), `torn` (after half of it), `meet` (a command runs before it).
"""
import os
import re
import socket
import subprocess
import threading
import time
import urllib.parse

FRONTEND = {b'Q': 'Query', b'P': 'Parse', b'B': 'Bind', b'D': 'Describe', b'E': 'Execute', b'S': 'Sync', b'X': 'Terminate',
            b'd': 'CopyData', b'c': 'CopyDone', b'f': 'CopyFail', b'C': 'Close', b'H': 'Flush', b'p': 'Password', b'': 'Startup'}
BACKEND = {b'Z': 'ReadyForQuery', b'C': 'CommandComplete', b'T': 'RowDescription', b'D': 'DataRow', b'1': 'ParseComplete',
           b'2': 'BindComplete', b'3': 'CloseComplete', b'R': 'Authentication', b'S': 'ParameterStatus', b'K': 'BackendKeyData',
           b'E': 'Error', b'N': 'Notice', b't': 'ParameterDescription', b'n': 'NoData', b's': 'PortalSuspended',
           b'G': 'CopyInResponse', b'H': 'CopyOutResponse', b'd': 'CopyData', b'c': 'CopyDone', b'I': 'EmptyQuery'}


def server_of(url):
    """The address of the server in a URL: a socket's path, or host and port."""
    parsed = re.match(r'postgres(?:ql)?://(?:[^@/]*@)?([^:/]*)(?::(\d+))?/', url)
    host, port = urllib.parse.unquote(parsed.group(1)), int(parsed.group(2) or 5432)
    return os.path.join(host, f'.s.PGSQL.{port}') if host.startswith('/') else (host, port)


def words(kind, body):
    """What a message is about: the first words of a statement, or the tag of its end."""
    if kind in ('Query', 'Parse'):
        text = body.split(b'\0')[1 if kind == 'Parse' else 0].decode('utf-8', 'replace')
        found = re.findall(r'[A-Za-z_]+', text)
        # Who writes is told by the table as well.
        table = re.search(r'\b(INSERT INTO|UPDATE|DELETE FROM) (?:"[^"]*"\.|\w+\.)?"?(mil\w+)', text)
        if re.search(r'\bFOR (NO KEY )?UPDATE\b', text):
            return ' SELECT_LOCKED'
        return ' ' + ('_'.join(found[:2]).upper() if not table else f'{table.group(1).split(" ")[0]}_{table.group(2)}') if found else ''
    if kind == 'CommandComplete':
        return ' ' + re.sub(r'[ \d]+$', '', body.rstrip(b'\0').decode('utf-8', 'replace')).replace(' ', '_')
    return ''


class Proxy:
    def __init__(self, url):
        self.server = server_of(url)
        self.listener = socket.create_server(('127.0.0.1', 0))
        port = self.listener.getsockname()[1]
        self.url = re.sub(r'@[^/]*/', f'@127.0.0.1:{port}/', url, count=1)
        self.lock = threading.Lock()
        self.log, self.number, self.at, self.what, self.command = [], 0, 0, '', ''
        self.struck, self.beside = None, ''
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, at, what, command='', beside=''):
        """From now on messages are counted anew; with each, the lines that a log of the shim has by then."""
        with self.lock:
            self.beside = beside
            self.log, self.number, self.at, self.what, self.command, self.struck = [], 0, at, what, command, None
        self.ended.clear()

    def disarm(self):
        """The command has ended."""
        self.at = 0
        self.ended.set()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if isinstance(self.server, str):
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self.server)
                else:
                    server = socket.create_connection(self.server)
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for arguments in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.relay, args=arguments, daemon=True).start()

    @staticmethod
    def whole(source, count):
        data = b''
        while len(data) < count:
            more = source.recv(min(count - len(data), 1 << 16))
            if not more:
                raise ConnectionError
            data += more
        return data

    def message(self, source, begun, frontend):
        """The next message: its kind and its bytes."""
        kind = self.whole(source, 1) if begun else b''
        length = self.whole(source, 4)
        body = self.whole(source, int.from_bytes(length, 'big') - 4)
        return kind, kind + length + body, body

    def relay(self, source, sink, frontend):
        begun = not frontend
        try:
            while True:
                kind, data, body = self.message(source, begun, frontend)
                if frontend and not begun:
                    if body[:4] in (b'\x04\xd2\x16\x2f', b'\x04\xd2\x16\x30'):     # TLS, GSSAPI: no
                        source.sendall(b'N')
                        continue
                    begun = True
                    if body[:4] == b'\x04\xd2\x16\x2e':
                        self.pass_on(sink, data, 'F Cancel')
                        continue
                name = (FRONTEND if frontend else BACKEND).get(kind, kind.decode('latin-1'))
                on = self.pass_on(sink, data, ('F ' if frontend else 'B ') + name + words(name, body))
                if on is None:
                    self.stall(source)
                if not on:
                    break
        except (OSError, ConnectionError, ValueError):
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            sink.close()

    def stall(self, source):
        """Takes what comes, and passes nothing on, until the sender has gone."""
        while source.recv(1 << 16):
            pass

    def pass_on(self, sink, data, name):
        """Passes a message on, or does what it is to do; whether the connection lives on (`None`: silently)."""
        with self.lock:
            what = self.choose(name)
        if what == 'swallow':
            return None
        if what == 'cut':
            return False
        if what == 'torn':
            sink.sendall(data[:max(1, len(data) // 2)])
            return False
        self.before(what)
        sink.sendall(data * 2 if what == 'double' else data)
        return what != 'cutafter'

    def choose(self, name):
        """What is to be done with a message."""
        self.number += 1
        self.log.append((self.number, name, self.calls()))
        what = self.what if self.number == self.at else ''
        if what:
            self.struck = name
        return what

    def calls(self):
        try:
            with open(self.beside, 'rb') as file:
                return file.read().count(b'\n')
        except OSError:
            return 0

    def before(self, what):
        """What comes before a message is passed on."""
        if what == 'meet':
            subprocess.run(['sh', '-c', self.command], timeout=20, check=False)
        if what == 'late':
            time.sleep(1.5)
        if what == 'later':
            self.ended.wait(30)
            time.sleep(0.2)
