/** Lists: search with "/", sort, columns, selection, paging by the server; the state is in the address. */
import type { UseQueryResult } from '@tanstack/react-query';
import { flexRender, getCoreRowModel, getSortedRowModel, useReactTable, type ColumnDef, type RowSelectionState, type SortingState } from '@tanstack/react-table';
import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react';

import { usePlace } from '../context';
import { useWords } from '../i18n';
import type { List } from '../types';
import { Actions, Menu, type Action } from './buttons';
import { useRemembered } from './layout';
import { Loaded } from './states';

export const PAGE_SIZE = 50;

export interface Column<T> {
  id: string;
  title: string;
  cell: (row: T) => ReactNode;
  /** What the column sorts by; columns without it do not sort. */
  by?: (row: T) => string | number | null | undefined;
  right?: boolean;
  /** Hidden until chosen in the columns menu. */
  extra?: boolean;
  /** Takes the room that is left. */
  grow?: boolean;
}

export interface TableState {
  search: string;
  page: number;
  sort: string;
  /** What goes to the service. */
  params: { q: string; limit: number; offset: number; sort: string };
}

/** Search, page and order as the address says. */
export function useTableState(): TableState {
  const { query } = usePlace();
  const search = query.get('q') ?? '';
  const page = Math.max(1, Number(query.get('page')) || 1);
  const sort = query.get('sort') ?? '';
  return { search, page, sort, params: { q: search, limit: PAGE_SIZE, offset: (page - 1) * PAGE_SIZE, sort } };
}

export function DataTable<T>(props: {
  name: string;
  label: string;
  query: UseQueryResult<List<T>, Error>;
  state: TableState;
  columns: Column<T>[];
  keyOf: (row: T) => string;
  empty: ReactNode;
  actions?: (row: T) => Action[];
  bulk?: (rows: T[]) => Action[];
  filters?: ReactNode;
}): JSX.Element {
  const { state } = props;
  const { t } = useWords();
  const filtered = state.search !== '';
  return (
    <>
      <Toolbar name={props.name} state={state} columns={props.columns} filters={props.filters} query={props.query} />
      <Loaded query={props.query} rows={8}>
        {data => {
          if (!data.items.length) return filtered ? <p className="lt-empty">{t('table.nothing', { search: state.search })}</p> : <>{props.empty}</>;
          return (
            <>
              <Rows {...props} rows={data.items} whole={data.total <= data.items.length} />
              <Pager total={data.total} page={state.page} shown={data.items.length} />
            </>
          );
        }}
      </Loaded>
    </>
  );
}

type Hidden = Record<string, boolean>;

function useColumns<T>(name: string, columns: Column<T>[]): [Hidden, (hidden: Hidden) => void] {
  const start = Object.fromEntries(columns.map(column => [column.id, !!column.extra]));
  const [hidden, setHidden] = useRemembered<Hidden>(`columns.${name}`, start);
  return [{ ...start, ...hidden }, setHidden];
}

function Toolbar<T>(props: { name: string; state: TableState; columns: Column<T>[]; filters?: ReactNode; query: UseQueryResult<List<T>, Error> }): JSX.Element {
  const place = usePlace();
  const { t } = useWords();
  const [text, setText] = useState(props.state.search);
  const [hidden, setHidden] = useColumns(props.name, props.columns);
  const box = useRef<HTMLInputElement>(null);
  const search = props.state.search;
  useEffect(() => setText(search), [search]);
  useEffect(() => {
    if (text === search) return;
    const timer = setTimeout(() => place.setQuery({ q: text || null, page: null }), 250);
    return () => clearTimeout(timer);
  }, [text, search]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.key !== '/' || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable || !box.current?.offsetParent) return;
      event.preventDefault();
      box.current.focus();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
  const columns = props.columns
    .filter(column => !column.grow)
    .map(column => ({ label: `${hidden[column.id] ? '☐' : '☑'} ${column.title}`, run: () => setHidden({ ...hidden, [column.id]: !hidden[column.id] }) }));
  return (
    <div className="lt-toolbar">
      <input
        ref={box}
        type="search"
        className="lt-input lt-search"
        placeholder={t('table.search')}
        aria-label={t('table.search')}
        value={text}
        onChange={event => setText(event.target.value)}
        onKeyDown={event => event.key === 'Escape' && setText('')}
      />
      {props.filters}
      <span className="lt-spring" />
      <Menu actions={columns} label={t('table.columns')} text={t('table.columns')} />
    </div>
  );
}

function Rows<T>(props: {
  name: string;
  label: string;
  rows: T[];
  /** All rows are here, not one page of them. */
  whole: boolean;
  state: TableState;
  columns: Column<T>[];
  keyOf: (row: T) => string;
  actions?: (row: T) => Action[];
  bulk?: (rows: T[]) => Action[];
}): JSX.Element {
  const place = usePlace();
  const { t } = useWords();
  const [hidden] = useColumns(props.name, props.columns);
  const [selected, setSelected] = useState<RowSelectionState>({});
  const sorting: SortingState = useMemo(
    () => (props.state.sort ? [{ id: props.state.sort.replace(/^-/, ''), desc: props.state.sort.startsWith('-') }] : []),
    [props.state.sort]
  );
  const columns = useMemo<ColumnDef<T>[]>(
    () =>
      props.columns.map(column => ({
        id: column.id,
        header: column.title,
        accessorFn: row => column.by?.(row) ?? undefined,
        cell: cell => column.cell(cell.row.original),
        enableSorting: !!column.by,
        sortUndefined: 'last' as const,
        sortingFn: 'alphanumeric' as const
      })),
    [props.columns]
  );
  const table = useReactTable<T>({
    data: props.rows,
    columns,
    getRowId: props.keyOf,
    getCoreRowModel: getCoreRowModel(),
    // A list of several pages comes in order; to order one page of it again would only confuse.
    getSortedRowModel: getSortedRowModel(),
    manualSorting: !props.whole,
    enableRowSelection: !!props.bulk,
    onRowSelectionChange: setSelected,
    state: { sorting, rowSelection: selected, columnVisibility: Object.fromEntries(Object.entries(hidden).map(([id, off]) => [id, !off])) }
  });
  const byId = new Map(props.columns.map(column => [column.id, column]));
  const chosen = table.getSelectedRowModel().rows.map(row => row.original);
  const sortBy = (id: string): void => {
    const next = props.state.sort === id ? `-${id}` : props.state.sort === `-${id}` ? null : id;
    place.setQuery({ sort: next, page: null });
  };
  return (
    <>
      {props.bulk && chosen.length > 0 && (
        <div className="lt-bulk" role="status">
          {t('table.selected', { count: chosen.length })}
          <Actions actions={props.bulk(chosen)} shown={3} label={t('action.more')} small />
        </div>
      )}
      <div className="lt-table-frame">
        <table className="lt-table" aria-label={props.label}>
          <thead>
            <tr>
              {props.bulk && (
                <th className="lt-cell-tight">
                  <input type="checkbox" aria-label={t('table.selectAll')} checked={table.getIsAllRowsSelected()} onChange={table.getToggleAllRowsSelectedHandler()} />
                </th>
              )}
              {table.getFlatHeaders().map(header => {
                const column = byId.get(header.id);
                const sorted = header.column.getIsSorted();
                return (
                  <th
                    key={header.id}
                    className={`${column?.right ? 'lt-right' : ''} ${column?.grow ? 'lt-grow' : ''}`}
                    aria-sort={sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : undefined}
                  >
                    {column?.by ? (
                      <button type="button" className="lt-sort" onClick={() => sortBy(header.id)}>
                        {column.title}
                        <span aria-hidden="true" className="lt-sort-mark">
                          {sorted === 'asc' ? '▲' : sorted === 'desc' ? '▼' : ''}
                        </span>
                      </button>
                    ) : (
                      column?.title
                    )}
                  </th>
                );
              })}
              {props.actions && <th className="lt-cell-tight" aria-label={t('table.actions')} />}
            </tr>
          </thead>
          <tbody>
            {table.getRowModel().rows.map(row => (
              <tr key={row.id} className={row.getIsSelected() ? 'lt-selected' : ''}>
                {props.bulk && (
                  <td className="lt-cell-tight">
                    <input type="checkbox" aria-label={t('table.select', { name: row.id })} checked={row.getIsSelected()} onChange={row.getToggleSelectedHandler()} />
                  </td>
                )}
                {row.getVisibleCells().map(cell => {
                  const column = byId.get(cell.column.id);
                  return (
                    <td key={cell.id} className={`${column?.right ? 'lt-right' : ''} ${column?.grow ? 'lt-grow' : ''}`}>
                      {flexRender(cell.column.columnDef.cell, cell.getContext())}
                    </td>
                  );
                })}
                {props.actions && (
                  <td className="lt-cell-tight lt-cell-actions">
                    <Actions actions={props.actions(row.original)} label={t('action.more')} small />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Pager({ total, page, shown }: { total: number; page: number; shown: number }): JSX.Element | null {
  const place = usePlace();
  const { t } = useWords();
  const from = (page - 1) * PAGE_SIZE + 1;
  const pages = Math.ceil(total / PAGE_SIZE);
  const go = (to: number): void => place.setQuery({ page: to === 1 ? null : String(to) });
  return (
    <nav className="lt-pager" aria-label={t('table.pages')}>
      <span className="lt-hint">{t('table.range', { from, to: from + shown - 1, total })}</span>
      {pages > 1 && (
        <>
          <button type="button" className="lt-button lt-small" disabled={page <= 1} onClick={() => go(page - 1)}>
            {t('table.previous')}
          </button>
          <span>{t('table.page', { page, pages })}</span>
          <button type="button" className="lt-button lt-small" disabled={page >= pages} onClick={() => go(page + 1)}>
            {t('table.next')}
          </button>
        </>
      )}
    </nav>
  );
}

/** The page of a list that the service sends whole: searched, ordered and cut here. */
export function cutLocally<T>(query: UseQueryResult<List<T>, Error>, state: TableState, columns: Column<T>[]): UseQueryResult<List<T>, Error> {
  if (!query.data) return query;
  const wanted = state.search.toLowerCase();
  const found = query.data.items.filter(row => !wanted || columns.some(column => String(column.by?.(row) ?? '').toLowerCase().includes(wanted)));
  const column = columns.find(one => one.id === state.sort.replace(/^-/, ''));
  const sign = state.sort.startsWith('-') ? -1 : 1;
  if (column?.by) found.sort((a, b) => sign * String(column.by?.(a) ?? '').localeCompare(String(column.by?.(b) ?? ''), undefined, { numeric: true }));
  const { offset, limit } = state.params;
  return { ...query, data: { items: found.slice(offset, offset + limit), total: found.length } } as UseQueryResult<List<T>, Error>;
}

/** A table for a few rows that are all here: no search, no paging. */
export function SmallTable<T>(props: { label: string; rows: T[]; columns: Column<T>[]; keyOf: (row: T) => string; actions?: (row: T) => Action[] }): JSX.Element {
  const { t } = useWords();
  return (
    <div className="lt-table-frame">
      <table className="lt-table" aria-label={props.label}>
        <thead>
          <tr>
            {props.columns.map(column => (
              <th key={column.id} className={`${column.right ? 'lt-right' : ''} ${column.grow ? 'lt-grow' : ''}`}>
                {column.title}
              </th>
            ))}
            {props.actions && <th className="lt-cell-tight" aria-label={t('table.actions')} />}
          </tr>
        </thead>
        <tbody>
          {props.rows.map(row => (
            <tr key={props.keyOf(row)}>
              {props.columns.map(column => (
                <td key={column.id} className={`${column.right ? 'lt-right' : ''} ${column.grow ? 'lt-grow' : ''}`}>
                  {column.cell(row)}
                </td>
              ))}
              {props.actions && (
                <td className="lt-cell-tight lt-cell-actions">
                  <Actions actions={props.actions(row)} label={t('action.more')} small />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Chips of which one is chosen; the choice is in the address. */
export function Chips({ name, choices }: { name: string; choices: { value: string; label: string }[] }): JSX.Element {
  const place = usePlace();
  const chosen = place.query.get(name) ?? choices[0]?.value;
  return (
    <span className="lt-chips" role="group">
      {choices.map((choice, index) => (
        <button
          key={choice.value}
          type="button"
          className="lt-chip"
          aria-pressed={choice.value === chosen}
          onClick={() => place.setQuery({ [name]: index === 0 ? null : choice.value, page: null })}
        >
          {choice.label}
        </button>
      ))}
    </span>
  );
}
