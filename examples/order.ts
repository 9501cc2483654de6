/**
 * A durable actor of one's own, apart from all training: an order that is paid, packed and shipped, with a time limit
 * and a compensation. Kill the process at any moment: the next start goes on where the order was, the payment is
 * charged once (its effect has a stable key), and a parcel that is not packed in time is paid back.
 *
 *     node examples/order.ts                                   everything in memory
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/order.ts  durable
 */
import { fromPromise, assign, setup } from 'xstate'
import { defineActor, MemoryServer, Node, openClient, redisTransport, ref, vocabulary } from '../runtime/mod.ts'
import type { Effect } from '../runtime/mod.ts'

interface Payment {
  readonly order: string
  readonly cents: number
}

/** What the chart may invoke: names and types only. The effects themselves are bound to it below. */
const placeholder = <Output, Input>() =>
  fromPromise<Output, Input>(() => Promise.reject(new Error('run by the runtime')))

export const orderMachine = setup({
  types: {
    context: {} as Payment & { receipt: string | null; reason: string | null },
    events: {} as { type: 'packed' } | { type: 'cancel' },
    input: {} as Payment,
  },
  actors: { charge: placeholder<string, Payment>(), refund: placeholder<null, { receipt: string }>() },
  actions: {
    ...vocabulary,
    keepReceipt: assign({ receipt: (_, { receipt }: { receipt: string }) => receipt }),
    giveReason: assign({ reason: (_, { reason }: { reason: string }) => reason }),
  },
  delays: { packingLimit: 30 * 60_000 },
}).createMachine({
  id: 'order',
  context: ({ input }) => ({ ...input, receipt: null, reason: null }),
  initial: 'charging',
  states: {
    charging: {
      invoke: {
        id: 'charge',
        src: 'charge',
        input: ({ context: { order, cents } }) => ({ order, cents }),
        onDone: {
          target: 'packing',
          actions: { type: 'keepReceipt', params: ({ event }) => ({ receipt: event.output }) },
        },
        onError: { target: 'cancelled', actions: { type: 'giveReason', params: { reason: 'the payment failed' } } },
      },
    },
    packing: {
      on: {
        packed: 'shipped',
        cancel: {
          target: 'refunding',
          actions: { type: 'giveReason', params: { reason: 'the customer changed their mind' } },
        },
      },
      after: {
        packingLimit: {
          target: 'refunding',
          actions: { type: 'giveReason', params: { reason: 'nobody packed it in time' } },
        },
      },
    },
    refunding: {
      invoke: {
        id: 'refund',
        src: 'refund',
        input: ({ context }) => ({ receipt: context.receipt ?? '' }),
        onDone: 'cancelled',
        onError: 'stuck',
      },
    },
    /** A person must look at it: the money is neither here nor there. */
    stuck: {},
    shipped: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

export interface Bank {
  readonly charge: Effect<Payment, string>
  readonly refund: Effect<{ receipt: string }, null>
}

/** Does not compile with an effect missing, too many, or of another type than the chart says. */
export const orderActor = (bank: Bank) =>
  defineActor({ kind: 'order', version: 1, machine: orderMachine, effects: { ...bank } })

async function main(): Promise<void> {
  const bank: Bank = {
    charge: async ({ cents }, { key }) => `receipt for ${cents} cents, idempotency key ${key}`,
    refund: async () => null,
  }
  const url = process.env['REDIS_URL']
  const transport = url === undefined ? new MemoryServer().connect() : redisTransport({ url, namespace: 'orders' })
  const directory = { shards: 64, pinned: new Set<string>() }
  await transport.start({ shards: directory.shards })
  const order = orderActor(bank)
  const node = new Node({ transport, directory, hosts: 'sharded', actors: [order] })
  await node.start()
  const client = await openClient({ transport, directory })

  const id = ref(order, `A-${Date.now()}`) // typed: an event or an input that the chart does not know does not compile
  await client.spawn(id, { order: id, cents: 4_200 })
  await node.events.once('commit', ({ lines }) => lines.some(({ actor, to }) => actor === id && to === 'packing'))
  console.log(await client.ask(id, { type: 'packed' })) // { handled: true, state: 'shipped', status: 'done' }
  console.log((await client.read(id))?.context)

  await client.stop()
  await node.stop()
  await transport.stop()
}

if (import.meta.main) await main()
