/** React inside Lumino: the frame every LtAI widget of JupyterLab shares. */
import { ReactWidget } from '@jupyterlab/ui-components';
import { Ltai, NoHub, PanelAt, Sidebar, type Client, type Language, type Place } from '@ltai/ui';
import type { QueryClient } from '@tanstack/react-query';
import { useMemo, useState, type ReactNode } from 'react';

export interface Frame {
  client: Client;
  queries: QueryClient;
  language: Language;
  /** Address of the console for links, or "". */
  console: string;
  open(path: string): void;
}

function usePlaceIn(frame: Frame, path: string, start: string, onOpen: (path: string) => void): Place {
  const [query, setQuery] = useState(start);
  return useMemo<Place>(
    () => ({
      host: 'lab',
      path,
      query: new URLSearchParams(query),
      open: onOpen,
      setQuery: changes =>
        setQuery(old => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(changes)) {
            if (value === null) next.delete(name);
            else next.set(name, value);
          }
          return next.toString();
        }),
      href: to => (frame.console ? frame.console + to.replace(/^\//, '') : '#'),
      hub: () => '',
      visit: url => void window.open(url, '_blank', 'noopener')
    }),
    [frame, path, query]
  );
}

function Framed(props: { frame: Frame; path: string; query: string; onOpen: (path: string) => void; children: ReactNode }): JSX.Element {
  const place = usePlaceIn(props.frame, props.path, props.query, props.onOpen);
  return (
    <Ltai client={props.frame.client} queries={props.frame.queries} place={place} language={props.frame.language}>
      {props.children}
    </Ltai>
  );
}

/** A main-area tab showing one address. */
export class PanelWidget extends ReactWidget {
  constructor(
    private readonly frame: Frame,
    readonly path: string,
    private readonly query: string
  ) {
    super();
    this.addClass('lt-lab-tab');
    this.node.classList.add('lt');
  }

  private onOpen = (path: string): void => {
    this.frame.open(path);
    // A form has done its work once it leads to what it made.
    if (this.path.endsWith('/new')) this.parent?.dispose();
  };

  protected render(): JSX.Element {
    return (
      <Framed frame={this.frame} path={this.path} query={this.query} onOpen={this.onOpen}>
        <PanelAt path={this.path} />
      </Framed>
    );
  }
}

export function makeSidebar(frame: Frame, connected: boolean): ReactWidget {
  return ReactWidget.create(
    <Framed frame={frame} path="/" query="" onOpen={path => frame.open(path)}>
      {connected ? <Sidebar /> : <NoHub />}
    </Framed>
  );
}

export function makeStatus(frame: Frame, children: ReactNode): ReactWidget {
  return ReactWidget.create(
    <Framed frame={frame} path="/" query="" onOpen={path => frame.open(path)}>
      {children}
    </Framed>
  );
}
