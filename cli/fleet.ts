/**
 * What the processes of one fleet must agree on (namespace, shards, pinned kinds, pool) and what each of them opens:
 * a transport and the stores. Settings that several commands share stand here once.
 */
import { fleetCollections } from '../actors/mod.ts'
import type { FleetCollections } from '../actors/mod.ts'
import { redisTransport, SHARDS_DEFAULT, systemClock } from '../runtime/mod.ts'
import type { Clock, Directory, RuntimeEvents, Transport } from '../runtime/mod.ts'
import { openFileSystemBlobs, openSqliteDocuments } from '../stores/mod.ts'
import type { Blobs, Documents } from '../stores/mod.ts'
import type { DataDir } from './data-dir.ts'

export const POOL = 'default'

export const directory: Directory = { shards: SHARDS_DEFAULT, pinned: new Set(['worker']) }
export const clock: Clock = systemClock

/** Told of what went wrong and was survived: a line in the process's log. */
export type Trouble = (where: string, error: unknown) => void

/** What a process's log says of its transport, beside errors: how it fares, and what a failover has lost. */
export function tellOfTransport(events: RuntimeEvents, trouble: Trouble): void {
  events.on('health', ({ transport, state, reason }) => {
    if (state !== 'healthy') trouble(`${transport} is ${state}`, reason)
  })
  events.on('shard.rolled-back', ({ shard, from, to }) => {
    trouble(`shard ${shard}`, `a failover of Redis has lost its commits ${to + 1} to ${from}`)
  })
}

/** `fleetId` is what Redis tells this fleet from others by. */
export async function connectRedis(url: string): Promise<Transport & AsyncDisposable & { readonly fleetId: string }> {
  const transport = redisTransport({ url })
  const { id } = await transport.start({ shards: directory.shards })
  return Object.assign(transport, { fleetId: id, [Symbol.asyncDispose]: () => transport.stop() })
}

export interface Stores {
  readonly documents: Documents
  readonly collections: FleetCollections
  readonly blobs: Blobs
}

/** `lasting` is false with the memory transport: documents must not outlive the actors that they speak of. */
export async function openStores(data: DataDir, lasting: boolean): Promise<Stores> {
  const documents = await openSqliteDocuments(lasting ? data.file('documents.sqlite') : ':memory:')
  return { documents, collections: fleetCollections(documents), blobs: await openFileSystemBlobs(data.file('blobs')) }
}
