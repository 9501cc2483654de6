/**
 * What every implementation of `Documents` promises (stores/documents.ts), as tests. `open` gives an empty store;
 * `again`, where the store outlives a process, gives a second view of the same data, as another process would have.
 */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  defineCollection,
  eachDocument,
  modify,
  STORE_LIMITS,
  type Collection,
  type Documents,
  type IndexedField,
  type Search,
} from '../../stores/mod.ts'

interface Job {
  readonly state: string
  readonly owner?: string
  readonly createdAt: number
  readonly accuracy?: number | null
  readonly urgent?: boolean
  readonly note?: unknown
  readonly sweep?: { readonly id: string; readonly trial: number }
}

const jobs = defineCollection<Job>({
  name: 'jobs',
  indexes: [
    'state',
    'accuracy',
    'urgent',
    'createdAt',
    ['owner', 'createdAt'],
    ['sweep.id', 'createdAt'],
    'sweep.trial',
  ],
})

export interface DocumentsUnderTest {
  readonly documents: Documents
  readonly again: (() => Promise<Documents>) | undefined
  readonly remove: () => Promise<void>
}

export function documentsContract(name: string, open: () => Promise<DocumentsUnderTest>): void {
  describe(`documents: ${name}`, () => {
    let store: DocumentsUnderTest
    let collection: Collection<Job>

    beforeEach(async () => {
      store = await open()
      collection = store.documents.collection(jobs)
    })
    afterEach(async () => {
      await store.documents.close()
      await store.remove()
    })

    const idsOf = async (search: Search<Job>): Promise<string[]> =>
      (await collection.find(search)).items.map((item) => item.id)

    test('gives undefined for an id that was never written', async () => {
      expect(await collection.get('a')).toBeUndefined()
    })

    test('gives back what was put, with a version that grows by one with each write', async () => {
      expect(await collection.put('a', job())).toEqual({ id: 'a', version: 1, value: job() })
      expect(await collection.put('a', job({ state: 'running' }))).toMatchObject({ version: 2 })
      expect(await collection.get('a')).toEqual({ id: 'a', version: 2, value: job({ state: 'running' }) })
    })

    test('insert writes only where nothing is', async () => {
      expect(await collection.insert('a', job())).toMatchObject({ version: 1 })
      expect(await collection.insert('a', job({ state: 'failed' }))).toBeUndefined()
      expect((await collection.get('a'))?.value.state).toBe('queued')
    })

    test('update writes only over the version that was read', async () => {
      await collection.put('a', job())
      expect(await collection.update('a', 1, job({ state: 'running' }))).toMatchObject({ version: 2 })
      expect(await collection.update('a', 1, job({ state: 'failed' }))).toBeUndefined()
      expect(await collection.update('never', 1, job())).toBeUndefined()
      expect((await collection.get('a'))?.value.state).toBe('running')
    })

    test('delete says whether there was something, and with a version deletes only that one', async () => {
      await collection.put('a', job())
      await collection.put('a', job())
      expect(await collection.delete('a', 1)).toBe(false)
      expect(await collection.delete('a', 2)).toBe(true)
      expect(await collection.delete('a')).toBe(false)
      expect(await collection.get('a')).toBeUndefined()
    })

    test('finds by several fields at once, and by null where a field is absent', async () => {
      await collection.put('a', job({ owner: 'ann', urgent: true }))
      await collection.put('b', job({ owner: 'ann', urgent: false, state: 'failed' }))
      await collection.put('c', job({ accuracy: null }))
      await collection.put('d', job({ owner: 'bob', accuracy: 0.5 }))
      expect(await idsOf({ where: { owner: 'ann' } })).toEqual(['a', 'b'])
      expect(await idsOf({ where: { owner: 'ann', state: 'failed' } })).toEqual(['b'])
      expect(await idsOf({ where: { urgent: true } })).toEqual(['a'])
      expect(await idsOf({ where: { urgent: false } })).toEqual(['b'])
      expect(await idsOf({ where: { owner: null } })).toEqual(['c'])
      expect(await idsOf({ where: { accuracy: null } })).toEqual(['a', 'b', 'c'])
      expect(await idsOf({ where: { accuracy: 0.5 } })).toEqual(['d'])
    })

    test('orders numbers as numbers, text by code point, null before all, ties by id', async () => {
      await collection.put('a', job({ createdAt: 10, owner: 'é' }))
      await collection.put('b', job({ createdAt: 9, owner: 'z' }))
      await collection.put('c', job({ createdAt: 10, owner: 'Z' }))
      await collection.put('d', job({ createdAt: -1 }))
      expect(await idsOf({ order: { by: 'createdAt' } })).toEqual(['d', 'b', 'a', 'c'])
      expect(await idsOf({ order: { by: 'createdAt', direction: 'descending' } })).toEqual(['c', 'a', 'b', 'd'])
      expect(await idsOf({ order: { by: 'owner' } })).toEqual(['d', 'c', 'b', 'a'])
      expect(await idsOf({ order: { by: 'owner', direction: 'descending' } })).toEqual(['a', 'b', 'c', 'd'])
    })

    test('the pages of any search hold each matching document exactly once, in order', async () => {
      const documents = fc.uniqueArray(
        fc.record({
          id: fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom('a', 'b', 'Z', 'é', '😀', '1', '"') }),
          accuracy: fc.option(
            fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }).filter(isIndexable), fc.nat(3)),
          ),
          state: fc.constantFrom('queued', 'running'),
        }),
        { selector: ({ id }) => id, maxLength: 25 },
      )
      const searches = fc.record(
        {
          where: fc.record({ state: fc.constant('queued') }, { requiredKeys: [] }),
          order: fc.record({
            by: fc.constantFrom<IndexedField<Job>>('accuracy', 'state'),
            direction: fc.constantFrom('ascending' as const, 'descending' as const),
          }),
          limit: fc.integer({ min: 1, max: 7 }),
        },
        { requiredKeys: ['limit'] },
      )
      let runs = 0
      const law = fc.asyncProperty(documents, searches, async (all, search) => {
        const fresh = store.documents.collection(defineCollection<Job>({ ...jobs, name: `law${++runs}` }))
        for (const { id, accuracy, state } of all) await fresh.put(id, job({ accuracy, state }))
        const seen: string[] = []
        for await (const { id } of eachDocument(fresh, search)) seen.push(id)
        const matching = all.filter(({ state }) => search.where?.state === undefined || state === search.where.state)
        const sign = search.order?.direction === 'descending' ? -1 : 1
        const expected = matching.toSorted((a, b) => {
          const by = search.order?.by === 'accuracy' ? compareNumbers(a.accuracy, b.accuracy) : 0
          const state = search.order?.by === 'state' ? compareText(a.state, b.state) : 0
          return sign * (by || state || compareText(a.id, b.id))
        })
        expect(seen).toEqual(expected.map(({ id }) => id))
      })
      await fc.assert(law, { numRuns: 40 })
    })

    test('documents written and deleted between two pages leave the others visited exactly once', async () => {
      for (const id of ['b', 'd', 'f', 'h']) await collection.put(id, job())
      const first = await collection.find({ limit: 2, order: { by: 'createdAt' } })
      await collection.put('a', job())
      await collection.put('e', job())
      await collection.delete('d')
      const second = await collection.find({ order: { by: 'createdAt' }, ...(first.next && { cursor: first.next }) })
      expect([first, second].flatMap(({ items }) => items.map(({ id }) => id))).toEqual(['b', 'd', 'e', 'f', 'h'])
      expect(second.next).toBeUndefined()
    })

    test('refuses a cursor that is malformed or of another search', async () => {
      for (const id of ['a', 'b', 'c']) await collection.put(id, job())
      const { next } = await collection.find({ limit: 1, where: { state: 'queued' } })
      expect(next).toBeTypeOf('string')
      await expect(collection.find({ cursor: next ?? '' })).rejects.toMatchObject({ code: 'find.bad-cursor' })
      const forged = ['', '!', 'e30', Buffer.from('[1,2,3,4]').toString('base64url'), 'A'.repeat(10_000)]
      for (const cursor of forged) {
        await expect(collection.find({ cursor })).rejects.toMatchObject({ code: 'find.bad-cursor' })
      }
    })

    test('refuses a search by a field that is not indexed, naming those that are', async () => {
      // A field name that came from outside has passed no type check.
      const search = { where: { note: 'x' } } as unknown as Search<Job>
      await expect(collection.find(search)).rejects.toMatchObject({
        code: 'find.not-indexed',
        data: {
          field: 'note',
          indexed: ['state', 'accuracy', 'urgent', 'createdAt', 'owner', 'sweep.id', 'sweep.trial'],
        },
      })
    })

    test('refuses a page of no documents and one larger than the limit', async () => {
      for (const limit of [0, -1, 1.5, STORE_LIMITS.pageMax + 1, Number.NaN]) {
        await expect(collection.find({ limit })).rejects.toMatchObject({ code: 'find.bad-limit' })
      }
    })

    test('any JSON value comes back equal', async () => {
      // By way of JSON's own text, which has no -0.
      const jsonValues = fc.json().map((text): unknown => JSON.parse(JSON.stringify(JSON.parse(text))))
      const law = fc.asyncProperty(jsonValues, async (note) => {
        await collection.put('a', job({ note }))
        expect((await collection.get('a'))?.value.note).toEqual(note)
      })
      await fc.assert(law, { numRuns: 100 })
    })

    test('refuses what JSON would change in silence, naming the place, and changes nothing', async () => {
      await collection.put('a', job())
      const cycle: unknown[] = []
      cycle.push(cycle)
      const cases: [note: unknown, path: string][] = [
        [Number.NaN, 'note'],
        [{ losses: [1, Infinity] }, 'note.losses[1]'],
        [{ at: new Date(0) }, 'note.at'],
        [[undefined], 'note[0]'],
        [() => 1, 'note'],
        [10n, 'note'],
        [new Uint8Array(2), 'note'],
      ]
      for (const [note, path] of cases) {
        await expect(collection.put('a', job({ note }))).rejects.toMatchObject({
          code: 'document.invalid',
          data: { path },
        })
      }
      await expect(collection.put('a', job({ note: cycle }))).rejects.toMatchObject({ code: 'document.invalid' })
      expect(await collection.get('a')).toMatchObject({ version: 1, value: job() })
    })

    test('refuses an indexed value that stores would order differently', async () => {
      for (const state of ['a\0b', '\ud800', 'x'.repeat(513), 2 ** 60, [] as unknown]) {
        const value = { ...job(), state } as Job // as it could come from outside
        await expect(collection.put('a', value)).rejects.toMatchObject({ code: 'document.invalid' })
      }
    })

    test('refuses a document above the size limit, and ids that are empty, too long or of control characters', async () => {
      const note = 'x'.repeat(STORE_LIMITS.documentBytesMax)
      await expect(collection.put('a', job({ note }))).rejects.toMatchObject({ code: 'document.too-large' })
      for (const id of ['', 'x'.repeat(257), 'a\0', 'a\nb']) {
        await expect(collection.put(id, job())).rejects.toMatchObject({ code: 'document.bad-id' })
        await expect(collection.get(id)).rejects.toMatchObject({ code: 'document.bad-id' })
      }
    })

    test('an id or value is data and never part of a statement', async () => {
      const id = `'; DROP TABLE doc_jobs; --`
      await collection.put(id, job({ owner: id }))
      expect(await idsOf({ where: { owner: id } })).toEqual([id])
    })

    test('deletes what is older than a bound, within a filter, and nothing that has no age', async () => {
      await collection.put('a', job({ createdAt: 1 }))
      await collection.put('b', job({ createdAt: 2, state: 'running' }))
      await collection.put('c', job({ createdAt: 3 }))
      await collection.put('d', job({ createdAt: 1, accuracy: 0.5 }))
      expect(await collection.deleteOlderThan('createdAt', 3, { state: 'queued' })).toBe(2)
      expect(await idsOf({})).toEqual(['b', 'c'])
      expect(await collection.deleteOlderThan('accuracy', 1)).toBe(0)
    })

    test('finds by a field of an object within the document, and pages in its order', async () => {
      const of = (id: string, trial: number): Job => job({ sweep: { id, trial }, createdAt: trial })
      await Promise.all([
        collection.put('a', of('s', 1)),
        collection.put('b', of('s', 2)),
        collection.put('c', of('t', 3)),
      ])
      await collection.put('d', job())
      const search = {
        where: { 'sweep.id': 's' },
        order: { by: 'createdAt', direction: 'descending' },
        limit: 1,
      } as const
      const first = await collection.find(search)
      const second = await collection.find({ ...search, cursor: first.next ?? '' })
      expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(['b', 'a'])
      expect(await idsOf({ where: { 'sweep.id': null } })).toEqual(['d'])
      expect(await idsOf({ order: { by: 'sweep.trial', direction: 'descending' }, limit: 3 })).toEqual(['c', 'b', 'a'])
    })

    test('collections do not see each other, and a collection declared again finds its documents', async () => {
      const models = store.documents.collection(defineCollection<Job>({ name: 'models', indexes: [] }))
      await models.put('a', job({ state: 'model' }))
      expect(await collection.get('a')).toBeUndefined()
      const more = store.documents.collection(defineCollection<Job>({ name: 'models', indexes: ['state'] }))
      expect((await more.find({ where: { state: 'model' } })).items).toHaveLength(1)
    })

    test('of many updates from one version exactly one succeeds', async () => {
      await collection.put('a', job())
      const views = [collection, ...(store.again === undefined ? [] : [(await store.again()).collection(jobs)])]
      const results = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => views[i % views.length]?.update('a', 1, job({ createdAt: i }))),
      )
      expect(results.filter((result) => result !== undefined)).toHaveLength(1)
      expect(await collection.get('a')).toMatchObject({ version: 2 })
    })

    test('modify loses no change when many change one document', async () => {
      await Promise.all(Array.from({ length: 20 }, () => modify(collection, 'a', oneMore)))
      expect((await collection.get('a'))?.value.createdAt).toBe(20)
      expect(await modify(collection, 'a', () => undefined)).toMatchObject({ version: 20 })
    })

    test('refuses a collection whose names could not be one everywhere', () => {
      expect(() => defineCollection<Job>({ name: 'jobs; --', indexes: [] })).toThrowError(/must match/)
    })

    test('says that it is closed when it is used after its end', async () => {
      await store.documents.check()
      await store.documents.close()
      await store.documents.close()
      await expect(collection.get('a')).rejects.toMatchObject({ code: 'store.closed' })
      await expect(store.documents.check()).rejects.toMatchObject({ code: 'store.closed' })
    })
  })
}

function job(fields: Partial<Job> = {}): Job {
  return { state: 'queued', createdAt: 1, ...fields }
}

function oneMore(value: Job | undefined): Job {
  return job({ createdAt: (value?.createdAt ?? 0) + 1 })
}

function isIndexable(value: number): boolean {
  return !Number.isInteger(value) || Number.isSafeInteger(value)
}

function compareNumbers(a: number | null, b: number | null): number {
  return (a ?? -Infinity) - (b ?? -Infinity) || 0 // -Infinity - -Infinity is NaN, and two nulls are a tie
}

/** By code point, as UTF-8 bytes compare; JavaScript's own order goes by UTF-16 units. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
