/**
 * One node of the runtime as an operating system's process, to be killed, frozen and cut off: it hosts the actors of the
 * simulator. What happens in it, and each run of an effect, it says on stdout, a JSON value a line, written at once: what it
 * has said when it is killed, it has done.
 *
 *     node tests/faults/runtime-node.ts '{"url", "id", "version"}'
 */
import { writeSync } from 'node:fs'
import { Node, redisTransport, RuntimeEvents, systemClock } from '../../runtime/mod.ts'
import type { RuntimeEvent } from '../../runtime/mod.ts'
import { simulatedActors } from '../simulation/actors.ts'
import type { EffectRun, Version } from '../simulation/actors.ts'
import { automatonOf } from '../simulation/automaton.ts'

export const DIRECTORY = { shards: 16, pinned: new Set<string>() } as const

export interface NodeSettings {
  readonly url: string
  readonly id: string
  readonly version: Version
}

export type Said = { readonly run: EffectRun } | { readonly event: RuntimeEvent }

function say(what: Said): void {
  writeSync(1, `${JSON.stringify(what)}\n`)
}

if (import.meta.main) {
  const { url, id, version } = JSON.parse(process.argv[2] ?? '') as NodeSettings // written by runtime-world.ts
  const events = new RuntimeEvents()
  events.on('*', (event) => {
    if (event.type === 'trouble') say({ event: { ...event, error: String(event.error) } })
    else say({ event: event.type === 'commit' ? { ...event, lines: [] } : event })
  })
  const transport = redisTransport({ url })
  await transport.start({ shards: DIRECTORY.shards })
  const runs = { push: (...all: EffectRun[]) => all.map((run) => say({ run })).length }
  const actors = simulatedActors(systemClock, id, runs, automatonOf(1), version)
  const node = new Node({ transport, directory: DIRECTORY, actors, hosts: 'sharded', id, events })
  await node.start()
  process.on('SIGTERM', () => void node.stop().then(() => process.exit()))
  process.stdin.resume().on('end', () => process.exit()) // never outlives the test
}
