"""What goes on around the writers: moves to and fro, some of them killed, retiring, imports; and the daemon, or cron's `check`."""
import os
import subprocess
import time

from hand import ROWS
from world import move, side


class Movers:
    def __init__(self, world):
        self.world, self.dice, self.daemon = world, world.dice, None
        self.left = []          # sides that were in use

    def goes_on(self, spare=0.0):
        return time.monotonic() < self.world.end - spare

    def move(self):
        """Moves on and on; some moves are killed, some go back to where the last one came from."""
        world, dice = self.world, self.dice
        while self.goes_on(1):
            now = world.where()
            others = [store for store in world.stores if store != now]
            if world.proxy and now != 'postgresql':
                others += ['postgresql'] * 2
            if 'completed' in world.on and now in ROWS:
                others += ['file', 'hybrid']
            arguments = move(dice.choice(others))
            if dice.random() < 0.15:
                arguments = ['rollback', '--yes']
            world.milescale(*arguments, kill_after=dice.uniform(0, 1.2) if dice.random() < 0.25 else None)
            if side(now) != side(world.where()):
                self.left.append(side(now))
            self.rest(0, 0.5)
            if 'retiring' in world.on and dice.random() < 0.6:
                self.retire()

    def retire(self):
        """Retires a store that is not in use; changes that wait for a person are imported before. Then it goes back now and then."""
        world, dice = self.world, self.dice
        olds = [it for it in self.left if it != side(world.where())]
        if not olds:
            return
        world.milescale('import', '--json')
        kill = dice.uniform(0, 3) if dice.random() < 0.15 else None
        said = world.milescale('retire', dice.choice(olds[-2:]), '--yes', kill_after=kill)
        if said.returncode == 0 and dice.random() < 0.4:
            # Who had a file open then, writes into it when files are in use again.
            world.milescale('rollback', '--yes')
        self.rest(0, 0.5)

    def rest(self, least, most):
        time.sleep(min(self.dice.uniform(least, most), max(0, self.world.end - time.monotonic())))

    def check(self):
        """What cron does: `check`, again and again."""
        while self.goes_on():
            self.world.milescale('check')
            time.sleep(0.5)

    def begin_daemon(self):
        if self.world.attendant == 'daemon' and not self.world.control:
            # A pipe that nobody reads would hold it.
            with open(os.path.join(self.world.base, 'daemon.log'), 'w') as log:
                self.daemon = self.world.start_of(['run', '--interval', '1'], stdout=log, stderr=log)

    def end_daemon(self):
        if not self.daemon:
            return
        self.daemon.terminate()
        try:
            status = self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            status = 'a kill: it did not hear the word to stop'
        if status != 0:
            with open(os.path.join(self.world.base, 'daemon.log')) as log:
                self.world.trouble.append(f'the daemon ended with {status}: {log.read()[-300:]}')
