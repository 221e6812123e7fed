"""PostgreSQL behind a proxy that now and then holds a message back, drops all from one on, or ends the connection."""
import time

from meet_proxy import Proxy

# Of so many messages one meets with trouble; the seed chooses.
ONE_OF = [500, 2000, 8000]
KINDS = ['late', 'late', 'late', 'very late', 'cut', 'cutafter', 'torn', 'swallow']


class Troubles(Proxy):
    def __init__(self, url, dice):
        super().__init__(url)
        self.dice, self.troubled, self.one_of = dice, False, dice.choice(ONE_OF)
        self.struck = []        # [when, what, message]

    def begin(self):
        self.troubled = True

    def calm(self):
        self.troubled = False

    def choose(self, name):
        what = self.dice.choice(KINDS) if self.troubled and self.dice.randrange(self.one_of) == 0 else ''
        if what:
            self.struck.append([time.monotonic(), time.monotonic(), f'proxy: {what} {name}', 0, []])
        return what

    def before(self, what):
        if what in ('late', 'very late'):
            # milescale waits for two seconds: what is very late arrives when nobody waits any more.
            time.sleep(3 if what == 'very late' else 0.3)
