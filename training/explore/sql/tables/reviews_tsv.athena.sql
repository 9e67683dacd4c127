-- The TSV files as they lie in the lake. LazySimpleSerDe, because these files know no quotes: OpenCSVSerDe takes a lone
-- " for the beginning of a cell that goes on over lines, and makes every column a string. A cell that is empty, or no
-- number or date, is null.
CREATE EXTERNAL TABLE IF NOT EXISTS reviews_tsv (
    marketplace string,
    customer_id string,
    review_id string,
    product_id string,
    product_parent string,
    product_title string,
    product_category string,
    star_rating tinyint,
    helpful_votes int,
    total_votes int,
    vine string,
    verified_purchase string,
    review_headline string,
    review_body string,
    review_date date
)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe'
WITH SERDEPROPERTIES ('field.delim' = '\t', 'serialization.null.format' = '')
STORED AS TEXTFILE
LOCATION 's3://BUCKET/LAKE/reviews_tsv/'
TBLPROPERTIES ('skip.header.line.count' = '1')
