/** Lists of documents, newest first and page by page: what all of them take, and how they are answered. */
import { z } from 'zod'
import type { Collection, Search } from '../stores/mod.ts'
import { principalOf, type Context } from './api.ts'
import { LIMITS } from './limits.ts'

export const pageFields = {
  cursor: z.string().optional().describe('`next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(LIMITS.pageMax).default(LIMITS.pageDefault),
}

export const pageQuery = z.strictObject(pageFields)

/** A user sees their own alone. */
export function ownersOf(c: Context): { readonly owner?: string } {
  const { role, subject } = principalOf(c)
  return role === 'user' ? { owner: subject } : {}
}

export interface Listing<T extends object, Shown> {
  readonly where: NonNullable<Search<T>['where']>
  readonly by: NonNullable<Search<T>['order']>['by']
  readonly page: { readonly cursor?: string | undefined; readonly limit: number }
  readonly show: (value: T) => Shown
}

export async function pageFrom<T extends object, Shown>(
  source: Pick<Collection<T>, 'find'>,
  { where, by, page: { cursor, limit }, show }: Listing<T, Shown>,
): Promise<{ readonly items: readonly Shown[]; readonly next?: string }> {
  const order = { by, direction: 'descending' } as const
  const { items, next } = await source.find({ where, order, limit, ...(cursor !== undefined && { cursor }) })
  return { items: items.map(({ value }) => show(value)), ...(next !== undefined && { next }) }
}

/** Versions of one name by their number, or of all names by their time. */
export function versionsOf(name: string | undefined): { where: { name?: string }; by: 'version' | 'createdAt' } {
  return name === undefined ? { where: {}, by: 'createdAt' } : { where: { name }, by: 'version' }
}

/** For lists that show documents as they are. */
export function asItIs<T>(value: T): T {
  return value
}
