/** The thread of a watchdog (`watchdog.ts`). It does not touch the process's streams: they need the event loop. */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { BEAT, BEATS, DEBUGGED } from './watchdog.ts'
import type { WatchdogData } from './watchdog.ts'

const { shared, name, stuckMs } = workerData as WatchdogData // given by watchdog.ts
const seen = new Int32Array(shared)
const everyMs = stuckMs / BEATS
let last = -1
/** W1: turns of this thread, not time. */
let still = 0

setInterval(() => {
  const beat = Atomics.load(seen, BEAT)
  still = beat === last && Atomics.load(seen, DEBUGGED) === 0 ? still + 1 : 0
  last = beat
  if (still < BEATS) return
  writeSync(
    2,
    `${name} is stuck: for ${stuckMs / 1_000} s its event loop has not turned, as when a transition of an actor does not end. ` +
      'The process ends itself; others take over what it owned, and put aside what did it\n',
  )
  process.kill(process.pid, 'SIGKILL')
}, everyMs)
