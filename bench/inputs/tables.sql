-- Inserts, indexes, joins, updates and deletions in memory; prints sums that depend on all rows.
create table customer (id integer primary key, name text, town text, balance integer);
create table item (id integer primary key, customer integer, article text, price integer);
insert into customer
    with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 50000)
    select n, 'customer number ' || n, 'town ' || (n * 7919 % 331), n * 31 % 10007 from counter;
insert into item
    with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 250000)
    select n, n * 7907 % 50000 + 1, substr(hex(n * 1000003), 1, n % 24 + 4), n * 17 % 997
    from counter;
create index item_customer on item (customer, price);
create index item_article on item (article);
create index customer_town on customer (town, name);
select count(*), sum(price), sum(length(article)) from item;
select sum(total * places) from (
    select town, count(*) as places, sum(price) as total
    from customer join item on item.customer = customer.id group by town);
select count(distinct article), max(article), min(article) from item;
select group_concat(town || ':' || many) from (
    select town, count(*) as many from customer where balance > 5000
    group by town order by many desc, town limit 40);
update item set article = article || '-' || price where id % 3 = 0;
delete from item where id % 5 = 0;
select count(*), sum(length(article)), sum(price * id % 1009) from item;
select count(*) from item as one join item as other on one.article = other.article
    where one.id < other.id;
select sum(length(list)) from (
    select group_concat(article, '/') as list from item group by customer);
