/**
 * What users of the client see. Types only: nothing is left of this file when it is built.
 */

/** A place in the user's stream, after the message at `offset`. @typedef {{ epoch: string, offset: number }} Position */

/**
 * A notification. With `offset` it is durable: once and in order, over lost lines too. `time`: seconds
 * since the epoch.
 * @template {string} [Name=string]
 * @template [Data=any]
 * @typedef {{ id: string, event: Name, data: Data, time: number, offset?: number, missed?: number }} Message
 */

/**
 * @typedef {object} Status
 * @property {"connecting" | "online" | "offline" | "closed"} state  `closed` is final until `connect()`
 * @property {number} [retryAt]  offline: when the next attempt begins, as Date.now() counts; none
 *   while the page is left, or waits until it is looked at
 * @property {number} [code]  offline and closed: why (a close code; 1006 when nobody said)
 * @property {string} [reason]
 */

/**
 * The first frame of a connection.
 * @typedef {object} Welcome
 * @property {string} session
 * @property {string} user
 * @property {string} client
 * @property {string} node
 * @property {string} epoch
 * @property {number} offset
 * @property {boolean | null} recovered
 * @property {number} heartbeat  seconds
 * @property {{ frame: number, message: number }} limits  bytes
 * @property {number} [expires_in]  seconds
 */

/** One of this user's live sessions. @typedef {{ session: string, client: string, since: number, agent: string }} Session */

/**
 * The state of a page and where in the stream it stands: take the position BEFORE the data.
 * @template [State=any]
 * @typedef {{ position: Position, data: State }} Loaded
 */

/**
 * @template [State=any]
 * @typedef {object} Options
 * @property {() => string | undefined | Promise<string | undefined>} [getToken]  a fresh token; asked before every
 *   connection, and before the last one ends
 * @property {Position | null} [position]  where the page's data stands; without it you begin at "now"
 * @property {() => Promise<Loaded<State>> | Loaded<State>} [load]  the page's state; asked at the start and at every
 *   reset. Messages wait meanwhile
 * @property {(data: State) => unknown} [apply]  shows what `load` gave; may return a promise
 * @property {"auto" | "manual"} [ack]  `manual`: a message is processed when you say so with `ack()`
 * @property {"return" | "wait"} [whenHidden]  `wait`: a page that nobody looks at does not come back until somebody does
 * @property {boolean} [connect]  false: not before `connect()`
 * @property {string} [clientId]  a ULID; by default one that is stable for this browser tab
 * @property {Storage} [storage]  where that ULID outlives a reload (default: sessionStorage)
 * @property {Record<string, string>} [query]  more parameters of the handshake
 * @property {any} [WebSocket]  a class like the browser's, as of the package `ws`, where there is none
 */

/**
 * What the client itself tells, by name.
 * @typedef {object} Own
 * @property {Message<any, any>} message  every notification
 * @property {Position} reset  what followed the old position is gone
 * @property {{ missed: number }} missed  so many ephemeral messages were lost
 * @property {Status} status
 * @property {Welcome} welcome
 * @property {import("./errors.js").GatewayError} error  something that is tried again: `load_failed`, `refresh_failed`
 */

/**
 * What `on` takes: the client's own names, and those of events. `event:` before a name says that an event is meant.
 * @template Events
 * @typedef {keyof Own | (keyof Events & string) | `event:${keyof Events & string}`} Name
 */

/** @template Events @template {string} Event @typedef {Event extends keyof Events ? Events[Event] : never} DataOf */

/** @template Events @template {string} Event @typedef {(data: DataOf<Events, Event>, message: Message<Event, DataOf<Events, Event>>) => void} OfEvent */

/**
 * @template Events
 * @template {string} Named
 * @typedef {Named extends keyof Own ? (detail: Own[Named]) => void
 *   : Named extends `event:${infer Event}` ? OfEvent<Events, Event> : OfEvent<Events, Named>} Handler
 */

export {};
