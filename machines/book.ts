/**
 * The scheduler's book: all that the scheduler of a pool knows, as plain JSON. It holds who works, what runs where, and
 * of what waits a window only: of each queue the next entries and the newest ones. What lies between is kept by pages
 * (page.ts). So a book grows with the workers and the owners of a pool, and not with what waits in it.
 *
 * A *run* is one attempt of a task: a task that was preempted may wait with its next attempt while its last one is
 * still being stopped, and each of them is a run of its own.
 */
import type { Demand } from './demand.ts'
import type { Priority } from './spec.ts'
import type { Gpu } from './views.ts'

/** How a worker is chosen among those that are free: see matching.ts. */
export type Policy = 'affinity' | 'least-loaded' | 'round-robin' | 'resource-aware'

export interface WorkerFacts {
  /** The worker's address. */
  readonly worker: string
  readonly slots: number
  readonly backend: string
  readonly fingerprint: string
  readonly host: string
  readonly pid: number
  readonly joinedAt: number
  readonly gpus: readonly Gpu[]
}

export interface WorkerRow extends WorkerFacts {
  readonly state: 'ready' | 'draining' | 'gone'
  readonly tasks: readonly string[]
  /** How many of its slots are taken. */
  readonly used: number
  /** The value of the book's clock at its last assignment. */
  readonly servedAt: number
  /** The datasets of its last runs: it has their shards at hand. */
  readonly data: readonly string[]
  /** How long its runs take, as a multiple of what others need for the same. */
  readonly pace: number
  /** How often in a row it was found slow, and the value of the clock until which it is spared for that. */
  readonly strikes: number
  readonly slowUntil: number
}

/** What a task wants when it asks for a slot. */
export interface Submission extends Demand {
  /** The task's address. */
  readonly task: string
  readonly attempt: number
  /** It has had a slot and was preempted: it goes before the others of its queue. */
  readonly isBack?: boolean
}

/** One task that waits. */
export interface Want {
  readonly task: string
  readonly attempt: number
  readonly prefer?: string
  readonly avoid?: string
}

/** What waits in a queue: a task, or a gang of tasks that start together. */
export interface Entry {
  readonly job: string
  readonly wants: readonly Want[]
  /** How many slots each of them takes. */
  readonly slots: number
  readonly data?: string
  /** How often others went before it that stood behind it. */
  readonly passed: number
}

/**
 * What waits of one owner, in one class, with the same needs: first come, first served. `head` goes next; behind it are
 * the pages `first` … `next - 1`, each an actor that holds `PAGE_SIZE` entries; behind them is `tail`.
 */
export interface Queue {
  readonly id: number
  readonly owner: string
  readonly priority: Priority
  /** A fingerprint, `backend:<name>`, or `*`. */
  readonly needs: string
  readonly head: readonly Entry[]
  readonly first: number
  readonly next: number
  /** Page `first` was asked for its entries. */
  readonly isTurning: boolean
  /** Runs of that page that were withdrawn since. */
  readonly struck: readonly string[]
  readonly tail: readonly Entry[]
  /** The value of the clock when one of its entries was last placed, or when it came. */
  readonly servedAt: number
}

export interface OwnerRow {
  /** Slots that the owner's runs hold. */
  readonly running: number
  readonly servedAt: number
  /** In how many queues the owner waits. */
  readonly queues: number
}

/** Where a run is. */
export interface Placing {
  readonly task: string
  readonly attempt: number
  readonly worker: string
  readonly owner: string
  readonly priority: Priority
  readonly slots: number
  /** The value of the clock when it was placed. */
  readonly at: number
  /** It went first because its class had been passed over: it is not preempted, or ageing would be in vain. */
  readonly isAged: boolean
  /** It was told to give its slot back. */
  readonly isLeaving: boolean
}

/** What an admin sets for a pool. */
export interface PoolSettings {
  readonly policy: Policy
  /** How many slots one owner may hold at once; null for any number. */
  readonly slotsPerOwner: number | null
  /** The same for single owners. */
  readonly slotsOf: Readonly<Record<string, number>>
  /** How many jobs one owner may have here, under way or waiting; null for any number. The edge refuses more. */
  readonly jobsPerOwner: number | null
}

export interface Book {
  readonly pool: string
  readonly settings: PoolSettings
  readonly workers: Readonly<Record<string, WorkerRow>>
  readonly owners: Readonly<Record<string, OwnerRow>>
  readonly queues: Readonly<Record<string, Queue>>
  /** Gangs that are not complete yet, by job: their tasks come one by one. */
  readonly gangs: Readonly<Record<string, { readonly size: number; readonly submissions: readonly Submission[] }>>
  /** Run → where it is. */
  readonly placed: Readonly<Record<string, Placing>>
  readonly passedOver: { readonly normal: number; readonly low: number }
  /** How many assignments there were. */
  readonly clock: number
  /** How many queues there were. */
  readonly queueCount: number
  /** The last workers that went, for people who wonder where one is. */
  readonly departed: readonly WorkerRow[]
}

export function emptyBook(pool: string, settings: Partial<PoolSettings> = {}): Book {
  return {
    pool,
    settings: { policy: 'affinity', slotsPerOwner: null, slotsOf: {}, jobsPerOwner: null, ...settings },
    workers: {},
    owners: {},
    queues: {},
    gangs: {},
    placed: {},
    passedOver: { normal: 0, low: 0 },
    clock: 0,
    queueCount: 0,
    departed: [],
  }
}

export const runOf = ({ task, attempt }: { readonly task: string; readonly attempt: number }): string =>
  `${task} ${attempt}`

/** What follows from a change of the book, for others to do. */
export type Order =
  | { readonly do: 'assign'; readonly task: string; readonly attempt: number; readonly worker: string; readonly fingerprint: string } // prettier-ignore
  /** Give the slot back: a higher class needs it. */
  | { readonly do: 'preempt'; readonly task: string; readonly attempt: number }
  | { readonly do: 'park'; readonly queue: string; readonly page: string; readonly entries: readonly Entry[] }
  | { readonly do: 'turn'; readonly page: string }
  | { readonly do: 'strike'; readonly page: string; readonly run: string }

/** A book that is being changed: its maps are copies, the rows in them are replaced and never written to. */
export type Draft = {
  -readonly [Key in keyof Book]: Key extends 'workers' | 'owners' | 'queues' | 'gangs' | 'placed'
    ? Record<string, Book[Key][string]>
    : Book[Key]
} & { readonly orders: Order[] }

export function draft(book: Book): Draft {
  return {
    ...book,
    workers: { ...book.workers },
    owners: { ...book.owners },
    queues: { ...book.queues },
    gangs: { ...book.gangs },
    placed: { ...book.placed },
    orders: [],
  }
}
